//! Arguments → window or command line.

fn main() -> std::process::ExitCode {
    lapidary::workbench::cli::main()
}
