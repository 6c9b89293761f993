//! The parts of event content that authorisation reads.
