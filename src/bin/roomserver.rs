//! The command-line tool; see [`roomserver::cli`].

fn main() -> std::process::ExitCode {
    roomserver::cli::run()
}
