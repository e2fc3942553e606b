//! `cargo xtask docs`: the API docs, and the list of what there is to read.

use xshell::{Shell, cmd};

use crate::{flags, lint, tidy, workspace};

/// Builds the docs and lists the guides by their titles.
pub fn run(sh: &Shell, flags: &flags::Docs) -> anyhow::Result<()> {
    let cargo = workspace::cargo();
    let exclude = lint::exclude_facades(&workspace::Workspace::read()?);
    let open = flags.open.then_some("--open");
    cmd!(sh, "{cargo} doc --locked --workspace {exclude...} --no-deps {open...}").run()?;
    println!("API docs: {}", workspace::target_dir().join("doc/kopia_lite/index.html").display());
    for path in tidy::files()? {
        let is_guide = path.starts_with("docs") || path.components().count() == 1;
        if is_guide && path.extension().is_some_and(|ext| ext == "md") {
            let text = sh.read_file(&path)?;
            let title = text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("");
            println!("{:44} {title}", path.display().to_string());
        }
    }
    Ok(())
}
