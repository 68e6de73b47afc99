//! Text to Kubernetes objects: the one door through which YAML and JSON come in.
//!
//! [`documents`] cuts a text into its documents, reads each for itself (one that is broken takes no other with it), opens
//! lists, and gives every object the defaults that `kubectl apply` gives it. [`Document::validate`] then holds an object to
//! what the API server accepts. Every complaint has a line, says what is wrong and what to do. Nothing here panics, whatever
//! the text, and the work is bounded: [`MAX_BYTES`], [`MAX_NODES`], [`MAX_DEPTH`], [`MAX_DOCUMENTS`].
//!
//! It is not a loader: bytes come from the caller ([`text`] makes text of them), file names are the caller's to add.

mod tree;
mod typed;

use serde_saphyr::options::DuplicateKeyPolicy;
use thiserror::Error;

use crate::kubernetes::{NetworkPolicySpec, Object, validate};
use tree::{Position, Tree, Value};
use typed::{Mismatch, Reader};

/// The longest text that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The most values (scalars, lists, mappings) in one document, counted after aliases are followed.
pub const MAX_NODES: usize = 2_000_000;
/// The deepest nesting in one document.
pub const MAX_DEPTH: usize = 64;
/// The most documents in one text, the items of lists counted.
pub const MAX_DOCUMENTS: usize = 200_000;
/// The most values that aliases (`*name`) may repeat in one document.
const MAX_REPEATED: usize = 100_000;

/// What is wrong with a text, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {what}; {what_to_do}")]
pub struct YamlError {
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
    /// What is wrong; it names the object where its name could be read.
    pub what: String,
    /// What to do about it.
    pub what_to_do: String,
}

/// An object of a text.
#[derive(Clone, Debug)]
pub struct Document {
    /// The line where the object starts, counted from 1.
    pub line: u32,
    /// The object, with `kubectl`'s defaults: namespace `default`, a namespace's own name as a label.
    pub object: Object,
    /// Fields of a NetworkPolicy that do not exist, most likely misspelt: ignored, and worth a warning.
    pub unknown_fields: Vec<UnknownField>,
    /// Lines in the text before those of `tree`.
    offset: u32,
    tree: Tree,
}

/// A field that the object's kind does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// Its name as written.
    pub name: String,
    /// Its line, counted from 1.
    pub line: u32,
    /// Its column, counted from 1, in characters.
    pub column: u32,
}

impl Document {
    /// What is accepted, as the API server does, and is most likely not what was meant.
    pub fn warnings(&self) -> impl Iterator<Item = YamlError> {
        self.unknown_fields.iter().map(|field| YamlError {
            line: field.line,
            column: field.column,
            what: format!(
                "{} has a field `{}` that its kind does not have; it is ignored",
                self.object.title(),
                field.name
            ),
            what_to_do: "correct the field's name, or remove it".to_owned(),
        })
    }

    /// The line of a field named as in [`validate::Invalid::path`]; of the nearest part of it that was written.
    pub fn line_of(&self, path: &str) -> u32 {
        self.tree.locate(path).line + self.offset
    }

    /// What the API server would refuse about this object, with lines.
    pub fn validate(&self) -> Result<(), Vec<YamlError>> {
        validate::validate(&self.object).map_err(|invalid| {
            let located = |invalid: validate::Invalid| {
                let what = format!("{}: {} {}", self.object.title(), invalid.path, invalid.what);
                let position = self.tree.locate(&invalid.path);
                YamlError::at(position, self.offset, what, invalid.what_to_do)
            };
            invalid.into_iter().map(located).collect()
        })
    }
}

impl YamlError {
    fn at(position: Position, offset: u32, what: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Self {
            line: position.line.max(1).saturating_add(offset),
            column: position.column.max(1),
            what: what.into(),
            what_to_do: what_to_do.into(),
        }
    }
}

/// Bytes of a file as text: refuses what is too long, is not UTF-8 or holds NUL; drops a byte order mark.
pub fn text(bytes: &[u8]) -> Result<&str, YamlError> {
    if bytes.len() > MAX_BYTES {
        return Err(too_long(bytes.len()));
    }
    let place = |valid: &[u8]| {
        let valid = String::from_utf8_lossy(valid);
        let last = lines(&valid).last().filter(|line| !line.ends_with(['\n', '\r'])).unwrap_or_default();
        let breaks = lines(&valid).filter(|line| line.ends_with(['\n', '\r'])).count();
        let narrow = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
        Position { line: narrow(breaks), column: narrow(last.chars().count()) }
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let position = place(&bytes[..error.valid_up_to()]);
        YamlError::at(position, 0, "the text is not UTF-8", "save the file as UTF-8")
    })?;
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let advice = "remove the byte, or restore the file: its last write may have been cut off";
        return Err(YamlError::at(place(&bytes[..at]), 0, "the text holds a NUL byte", advice));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads a text of YAML or JSON: every object in it, or what is wrong where one could not be read.
///
/// Documents of comments only (and empty ones) are skipped. `kind: List`, and the lists that the API serves (`PodList`),
/// are opened. Objects of kinds not known here come as [`Object::Unknown`].
pub fn documents(text: &str) -> Vec<Result<Document, YamlError>> {
    if text.len() > MAX_BYTES {
        return vec![Err(too_long(text.len()))];
    }
    let mut found = Vec::new();
    for chunk in chunks(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match parse(&chunk) {
            Ok(Tree { value: Value::Null, .. }) => {}
            Ok(tree) => open(tree, chunk.offset, None, &mut found),
            Err(error) => found.push(Err(error)),
        }
        if found.len() > MAX_DOCUMENTS {
            found.truncate(MAX_DOCUMENTS);
            let position = Position { line: 1, column: 1 };
            let what = format!("the text has more than {MAX_DOCUMENTS} objects");
            found.push(Err(YamlError::at(position, chunk.offset, what, "split it into several files")));
            break;
        }
    }
    found
}

fn too_long(length: usize) -> YamlError {
    let what = format!("the text has {length} bytes, more than {MAX_BYTES}");
    YamlError::at(Position::default(), 0, what, "split it into several files")
}

/// A text cut down to what fits a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// One document's text and the number of lines before it.
struct Chunk<'a> {
    offset: u32,
    text: &'a str,
}

/// Cuts at `---` and `...` lines, which YAML allows nowhere inside a document; leaves out what has only comments.
fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut found = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let (mut content, mut directive) = (false, false);
    let mut at = 0;
    let mut close = |start: usize, end: usize, offset: u32, content: bool| {
        if content {
            found.push(Chunk { offset, text: &text[start..end] });
        }
    };
    for (number, line) in (0u32..).zip(lines(text)) {
        let marker = |marker: &str| {
            line.strip_prefix(marker).filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        if let Some(rest) = marker("---") {
            // A directive (`%YAML 1.2`) belongs to the document whose `---` follows it.
            if content || !directive {
                close(start, at, start_line, content);
                (start, start_line) = (at, number);
            }
            (content, directive) = (!is_blank(rest), false);
        } else if marker("...").is_some() {
            close(start, at, start_line, content);
            (start, start_line, content, directive) = (at + line.len(), number + 1, false, false);
        } else if line.starts_with('%') && !content {
            directive = true;
        } else {
            content |= !is_blank(line);
        }
        at += line.len();
    }
    close(start, at, start_line, content || directive);
    found
}

/// The lines of a text with their ends: LF, CR LF, or CR alone, as YAML has it.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match rest.find(['\n', '\r']) {
            Some(at) if rest[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let (line, after) = rest.split_at(end);
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// Nothing but white space and a comment.
fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn parse(chunk: &Chunk<'_>) -> Result<Tree, YamlError> {
    let budget = serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_events: 2 * MAX_NODES,
        max_recorded_anchor_events: MAX_REPEATED,
        max_aliases: 1_000,
        max_anchors: 1_000,
        max_merge_keys: 1_000,
    };
    let alias_limits = serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED };
    let options = serde_saphyr::options! {
        budget: budget,
        alias_limits: alias_limits,
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true, // `defaultMode: 0400` is 256, as Kubernetes tools read it
        emit_comments: false,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(chunk.text, options).map_err(|error| unreadable(&error, chunk.offset))
}

/// The reader's error in our form: its own text without the place, which goes into `line` and `column`.
fn unreadable(error: &serde_saphyr::Error, offset: u32) -> YamlError {
    use serde_saphyr::Error as Cause;
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let position = error
        .location()
        .map(|at| Position { line: narrow(at.line()), column: narrow(at.column()) })
        .unwrap_or_default();
    let cause = match error.without_snippet() {
        Cause::AliasError { error, .. } => error.without_snippet(),
        cause => cause,
    };
    let (what, advice) = match cause {
        Cause::Budget { .. } | Cause::AliasReplayLimitExceeded { .. } | Cause::AliasReplayStackDepthExceeded { .. } => {
            let what = format!(
                "the document is larger than a limit here: {MAX_DEPTH} levels, {MAX_NODES} values, {MAX_REPEATED} values \
                 repeated by aliases"
            );
            return YamlError::at(position, offset, what, "write a smaller or flatter document, with fewer aliases");
        }
        Cause::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the key {:?} is there twice", shortened(key)), "keep one of the two")
        }
        Cause::UnknownAnchor { .. } => (own_text(cause), "define the anchor with `&name` before its use"),
        _ => (own_text(cause), "correct the YAML here or just above: indentation, quotes, brackets and colons"),
    };
    YamlError::at(position, offset, what, advice)
}

/// The reader's own text without the place, on one line of at most about 300 bytes.
fn own_text(cause: &serde_saphyr::Error) -> String {
    let message = cause.to_string();
    let place = message.rfind("at line ").unwrap_or(message.len());
    let line = message[..place].split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// Turns a document's tree into objects. `item_of` is what a list says its items are, for items that do not say it.
fn open(mut tree: Tree, offset: u32, item_of: Option<(&str, &str)>, found: &mut Vec<Result<Document, YamlError>>) {
    if found.len() > MAX_DOCUMENTS {
        return;
    }
    let (api_version, kind) = match header(&tree, offset, item_of) {
        Ok(header) => header,
        Err(error) => return found.push(Err(error)),
    };
    let items = match (kind.strip_suffix("List"), tree.take("items")) {
        (Some(_), Some(items)) => items,
        (Some(""), None) => return,
        _ => return found.push(read(tree, offset, api_version, &kind)),
    };
    let item_kind = kind.strip_suffix("List").filter(|item_kind| !item_kind.is_empty());
    match items.value {
        Value::Null => {}
        Value::List(items) => {
            items.into_iter().for_each(|item| open(item, offset, item_kind.map(|kind| (&*api_version, kind)), found));
        }
        other => {
            let what = format!("the items of a {kind} must be a list, but are {}", other.describe());
            found.push(Err(YamlError::at(items.position, offset, what, "start each item with `- `")));
        }
    }
}

/// `apiVersion` and `kind`.
fn header(tree: &Tree, offset: u32, item_of: Option<(&str, &str)>) -> Result<(String, String), YamlError> {
    if !matches!(tree.value, Value::Mapping(_)) {
        let what = format!("an object must be a mapping with apiVersion and kind, but is {}", tree.value.describe());
        let advice = "write apiVersion, kind and metadata, each at the start of a line";
        return Err(YamlError::at(tree.position, offset, what, advice));
    }
    if let (Some((api_version, kind)), None, None) = (item_of, tree.get("apiVersion"), tree.get("kind")) {
        return Ok((api_version.to_owned(), kind.to_owned()));
    }
    let field = |name: &str| match tree.text(name) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => {
            let position = tree.entry(name).map_or(tree.position, |entry| entry.position);
            let found = tree.get(name).map_or("missing".into(), |value| value.value.describe());
            let what = format!("{name} must be text, but is {found}");
            let advice = "write it as for a cluster, for example `apiVersion: v1` and `kind: Pod`";
            Err(YamlError::at(position, offset, what, advice))
        }
    };
    Ok((field("apiVersion")?, field("kind")?))
}

/// One object of a kind that is no list.
fn read(tree: Tree, offset: u32, api_version: String, kind: &str) -> Result<Document, YamlError> {
    let metadata = |field: &str| tree.get("metadata").and_then(|metadata| metadata.text(field));
    let name = metadata("name").unwrap_or_default().to_owned();
    let reader = Reader::default();
    let object = match (api_version.as_str(), kind) {
        ("v1", "Namespace") => reader.read(&tree).map(Object::Namespace),
        ("v1", "Node") => reader.read(&tree).map(Object::Node),
        ("v1", "Pod") => reader.read(&tree).map(Object::Pod),
        ("networking.k8s.io/v1", "NetworkPolicy") => reader.read(&tree).map(Object::NetworkPolicy),
        _ => Ok(Object::Unknown { api_version, kind: kind.to_owned(), name: name.clone() }),
    };
    let mut object = object.map_err(|Mismatch { position, path, what, advice }| {
        let title = [Some(kind), metadata("namespace"), metadata("name")].into_iter().flatten().collect::<Vec<_>>();
        YamlError::at(position, offset, format!("{}: {path} {what}", title.join("/")), advice)
    })?;
    object.apply_defaults();
    let unknown_fields = match object {
        Object::NetworkPolicy(_) => unknown_fields(&tree, offset),
        _ => Vec::new(),
    };
    Ok(Document { line: tree.position.line + offset, object, unknown_fields, offset, tree })
}

/// The fields of a NetworkPolicy that its kind does not have. All it does have are read, so the rest is a mistake.
fn unknown_fields(tree: &Tree, offset: u32) -> Vec<UnknownField> {
    let reader = Reader::default();
    if let Some(spec) = tree.get("spec") {
        // It was read before, as a part of the whole: reading it again cannot fail.
        let _: Result<NetworkPolicySpec, Mismatch> = reader.read(spec);
    }
    let known = ["apiVersion", "kind", "metadata", "spec", "status"];
    let outside = tree.entries().iter().filter(|entry| !known.contains(&entry.key.as_str()));
    let outside = outside.map(|entry| (entry.key.clone(), entry.position));
    let inside = reader.unknown_fields.into_inner();
    let located = |(name, position): (String, Position)| UnknownField {
        name,
        line: position.line + offset,
        column: position.column,
    };
    outside.chain(inside).map(located).collect()
}

#[cfg(test)]
mod tests;
