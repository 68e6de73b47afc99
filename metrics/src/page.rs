//! The page that lists metrics: a part of it is generated, and a test holds it to the code.

use std::fs;
use std::path::Path;

use crate::Described;

/// The list as Markdown.
pub fn list(described: &[Described]) -> String {
    let mut text = String::from("| metric | kind | labels | says |\n|---|---|---|---|\n");
    for Described { name, kind, labels, help } in described {
        text += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    text
}

/// Holds the part of a file between `<!-- begin NAME -->` and `<!-- end NAME -->` to a text; with BLESS=1 in the environment
/// writes it there.
///
/// # Errors
/// The file has no such part, or another text in it; with what to do.
pub fn hold(file: &Path, name: &str, text: &str) -> Result<(), String> {
    let shown = file.display();
    let page = fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let found = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let (before, (held, after)) = found.ok_or_else(|| format!("{shown} has no part {begin}…{end}"))?;
    if held == text {
        return Ok(());
    }
    if std::env::var_os("BLESS").is_some() {
        return fs::write(file, [before, &begin, text, &end, after].concat())
            .map_err(|error| format!("{shown}: {error}"));
    }
    Err(format!("{shown} does not say what the code says of {name}; run `make bless` and review the change"))
}
