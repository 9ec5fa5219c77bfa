//! The binary `sim`; see [`ottla_sim::main_with`].

fn main() -> anyhow::Result<()> {
    ottla_sim::main_with(std::env::args_os())
}
