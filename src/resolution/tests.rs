//! Resolution against the specification, against `ruma-state-res`, and against its own cost.

mod chains;
mod cost;
mod differential;
mod generate;
mod plain;
mod room;
mod ruma;
mod scenarios;
mod scenarios_v1;
mod text_v1;
