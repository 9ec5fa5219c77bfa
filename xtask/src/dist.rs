//! `cargo xtask dist`: the stripped release binary, static where the target allows.

use anyhow::{Context, Result};

use crate::{process, workspace};

const MUSL: &str = "x86_64-unknown-linux-musl";
const GNU: &str = "x86_64-unknown-linux-gnu";

/// Builds with profile `dist` into target/dist and says what came out.
pub(crate) fn run() -> Result<()> {
    let workspace = workspace::load()?;
    let target = if has_musl()? { MUSL } else { GNU };
    let mut command = process::cargo(
        &workspace.root,
        &["build", "--profile", "dist", "--package", "ottla-server", "--target", target],
    );
    // The GNU target links statically too when asked; the result still resolves names.
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    process::run(&mut command)?;
    let built = workspace.target.join(target).join("dist/ottla");
    let place = workspace.target.join("dist/ottla");
    std::fs::create_dir_all(workspace.target.join("dist"))?;
    std::fs::copy(&built, &place).with_context(|| format!("cannot copy {}", built.display()))?;
    let bytes = std::fs::metadata(&place)?.len();
    let kind = if is_static(&std::fs::read(&place)?) { "static" } else { "dynamic" };
    println!(
        "{} ({}.{} MiB, {kind}, {target})",
        place.display(),
        bytes >> 20,
        ((bytes >> 10) % 1024) * 10 / 1024
    );
    Ok(())
}

fn has_musl() -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = process::output(std::process::Command::new(rustc).args(["--print", "sysroot"]))?;
    Ok(std::path::Path::new(sysroot.trim()).join("lib/rustlib").join(MUSL).is_dir())
}

/// A static executable names no interpreter.
fn is_static(elf: &[u8]) -> bool {
    let interpreter = b"/lib64/ld-linux";
    !elf.windows(interpreter.len()).take(1 << 16).any(|w| w == interpreter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_makes_it_dynamic() {
        assert!(!is_static(b"\x7fELF....../lib64/ld-linux-x86-64.so.2"));
        assert!(is_static(b"\x7fELF......"));
    }
}
