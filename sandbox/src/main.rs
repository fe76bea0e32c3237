//! The program `nla-demo`: a whole NLA on this machine, with an example.

use clap::Parser as _;
use nla_sandbox::demo::{self, Arguments};

fn main() -> std::process::ExitCode {
    demo::main(Arguments::parse())
}
