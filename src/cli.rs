//! The command line: `roomserver`.
//!
//! Every command reads or fills the store of `--store` and prints text, or with `--json` JSON, one object a line. It ends
//! with 0 if all is done, 1 if something is wrong with what it looked at (an invalid line, a difference, a problem), 2 if
//! it could not do its work.

mod bench;
mod demo;
mod ending;
mod event;
mod export;
mod follow;
mod gc;
mod history;
mod import;
mod lacks;
mod lines;
mod output;
mod parked;
mod purge;
mod refused;
mod room;
mod scratch;
mod source;
mod state;
mod stats;
mod store;
mod table;
mod tally;
mod under_way;
mod verify;
mod wrapper;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

use self::{
    ending::{Ending, Failure, complain},
    output::Output,
    store::Place,
};

/// The arguments.
#[derive(Debug, Parser)]
#[command(
    name = "roomserver",
    version,
    about = "A room engine for Matrix: imports events, and tells what the state of a room was at each of them.",
    after_help = "Exit code: 0 done; 1 something is wrong with what was looked at; 2 usage, or nothing could be read.\n\
                  Environment: ROOMSERVER_STORE stands in for --store; RUST_LOG sets what is logged (default: warn).",
    // Of a flag that is given twice the last one counts, so that scripts can add to what they were told.
    args_override_self = true
)]
struct Arguments {
    /// Directory of the store [default: $ROOMSERVER_STORE, else ./roomserver-store]
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import events: JSON lines, plain or compressed with gzip or zstd
    Import(import::Arguments),
    /// List the rooms
    Rooms,
    /// Show a room: extremities, counts, the current state's fingerprint
    Room {
        /// The room's ID
        room: String,
    },
    /// Show an event: what was decided about it, and the PDU
    Event(event::Arguments),
    /// List what is parked: inputs that wait for events which are not in the store, and what each waits for
    Parked {
        /// Only this room
        room: Option<String>,
    },
    /// Show the state of a room: the current one, or the one at an event
    State(state::Arguments),
    /// Compare two states of a room; ends with 1 if they differ
    Diff(state::DiffArguments),
    /// Show a room's events in the order of processing, with what each changed in the state
    History {
        /// The room's ID
        room: String,
    },
    /// Show what the store holds and what it takes
    Stats(stats::Arguments),
    /// Check the store: whether all that can be derived is as derived; ends with 1 if not
    Verify,
    /// Collect garbage: delete what no retained event can reach
    Gc(gc::Arguments),
    /// Delete a room and all that is stored of it
    Purge {
        /// The room's ID
        room: String,
    },
    /// Print a room, or all of them, as lines that `import` reads
    Export {
        /// The room's ID
        room: Option<String>,
    },
    /// Import the rooms of a directory into temporary stores and show how that went
    Demo {
        /// The directory: its *.jsonl, *.jsonl.gz and *.jsonl.zst
        directory: PathBuf,
    },
    /// Measure this engine beside others
    Bench(bench::Arguments),
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Runs the tool with the process's arguments.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Nothing is left to be done about a closed pipe.
            let _closed = usage.print();
            return ExitCode::from(if usage.use_stderr() { 2 } else { 0 });
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Somebody who calls this as a library may have a log already.
    let _taken = log.with_ansi(output::is_coloured(&io::stderr())).without_time().with_target(false).try_init();
    match arguments.run() {
        Ok(Ending::Right) => ExitCode::SUCCESS,
        Ok(Ending::Wrong) => ExitCode::from(1),
        // Whoever reads has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            complain(format_args!("roomserver: {failure}"));
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    fn run(self) -> Result<Ending, Failure> {
        let directory = self.store.or_else(|| std::env::var_os("ROOMSERVER_STORE").map(PathBuf::from));
        let place = Place::new(directory.unwrap_or_else(|| PathBuf::from("roomserver-store")));
        let mut output = Output::new(self.json);
        let ending = match self.command {
            Command::Import(arguments) => import::run(&place, &arguments, &mut output),
            Command::Rooms => room::list(&place, &mut output),
            Command::Room { room } => room::show(&place, &room, &mut output),
            Command::Event(arguments) => event::run(&place, &arguments, &mut output),
            Command::Parked { room } => parked::run(&place, room.as_deref(), &mut output),
            Command::State(arguments) => state::run(&place, &arguments, &mut output),
            Command::Diff(arguments) => state::diff(&place, &arguments, &mut output),
            Command::History { room } => history::run(&place, &room, &mut output),
            Command::Stats(arguments) => stats::run(&place, &arguments, &mut output),
            Command::Verify => verify::run(&place, &mut output),
            Command::Gc(arguments) => gc::run(&place, &arguments, &mut output),
            Command::Purge { room } => purge::run(&place, &room, &mut output),
            Command::Export { room } => export::run(&place, room.as_deref(), &mut output),
            Command::Demo { directory } => demo::run(&directory, &mut output),
            Command::Bench(arguments) => bench::run(&arguments, &mut output),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "roomserver", &mut script);
                output.write_all(&script)?;
                Ok(Ending::Right)
            }
        }?;
        output.flush()?;
        Ok(ending)
    }
}
