//! A file uses its own layer and those below it, nothing above.
//!
//! Layers that use each other can be neither read nor tested nor replaced one by one; the compiler allows it inside a crate.

mod circles;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The modules of the crate, lowest layer first.
const LAYERS: &[&[&str]] = &[
    &["ids", "error"],
    &["encoding"],
    &["kv"],
    &["tables"],
    &["state"],
    &["resolution"],
    &["room"],
    &["input"],
    &["server", "query", "output", "stats", "upkeep", "verify"],
    &["generate", "import_line"],
    &["reuse", "codec"],
    &["cli", "fuzzing"],
];

/// What only ties the others together.
const EXEMPT: &[&str] = &["lib", "bin"];

#[test]
fn no_file_uses_a_layer_above_its_own() {
    let files = read_library();
    assert!(files.len() > 10, "{} files are not the library", files.len());
    let faults: Vec<String> = files.iter().flat_map(|(path, source)| faults(path, source)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_use_of_a_higher_layer_is_found() {
    for source in [
        "use crate::room::engine::Engine;",
        "use crate::{error::Result, room::{engine, writer}, ids::EventNid};",
        "pub use crate :: room;",
        "fn f() { crate::room::writer::go(); }",
        "use super::super::room::Engine;",
        "mod tests { use crate::room; }",
        "#[cfg(not(test))] use crate::room;",
        "const TEXT: &str = \"\\\"\"; use crate::room; // \"",
        "const QUOTE: char = '\"'; use crate::room; const OTHER: char = '\"';",
        "fn f<'a>(_: &'a str) { crate::room::go() }",
        "const RAW: &str = r#\"\"#; use crate::room;",
        "/* /* */ */ use crate::room;",
    ] {
        assert_eq!(faults("encoding/block.rs", source).len(), 1, "{source}");
    }
}

#[test]
fn a_use_of_the_own_layer_or_a_lower_one_is_no_fault() {
    for source in [
        "use crate::{error::Result, ids::{EventNid, room}, encoding::bytes};",
        "use super::bytes::room; use super::super::ids::EventNid;",
        "/// [`Engine`](crate::room::Engine)\n//! crate::room\n/* use crate::room; */",
        "const TEXT: &str = \"crate::room\"; const RAW: &str = r#\"\"crate::room\"#;",
        "pub(crate) fn f() {} pub(in crate::encoding) fn g() {}",
        "#[cfg(test)]\nmod tests { use crate::room; fn f() { { crate::room::go() } } }",
        "#[cfg(test)] #[expect(unused)] use crate::{room, input};",
        "macro_rules! m { () => { $crate::error::Error } }",
    ] {
        assert_eq!(faults("encoding/block.rs", source), [""; 0], "{source}");
    }
    assert_eq!(faults("encoding/json/tests.rs", "use crate::room;"), [""; 0], "files of tests may use anything");
}

#[test]
fn a_way_around_the_layers_is_a_fault() {
    assert_eq!(faults("encoding/block.rs", "use crate::RoomServer;").len(), 1, "through a re-export");
    assert_eq!(faults("encoding/block.rs", "use crate::*;").len(), 1, "through a glob");
    assert_eq!(faults("cli/import.rs", "use crate::{RoomServer, room};"), [""; 0], "the top may use the front door");
    assert_eq!(faults("newcomer.rs", "").len(), 1, "through a module that is in no layer");
}

/// The files of the library, by their paths under `src`.
fn read_library() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    read_sources(&root, &root, &mut files);
    files
}

fn read_sources(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            read_sources(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// What a file, named by its path under `src`, does wrong.
fn faults(path: &str, source: &str) -> Vec<String> {
    let modules: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    let own = modules[0];
    if EXEMPT.contains(&own) || modules[1..].contains(&"tests") {
        return Vec::new();
    }
    let Some(layer) = layer_of(own) else {
        return vec![format!("src/{path}: `{own}` is in no layer: put it into the list in tests/it/layers.rs")];
    };
    let tokens = without_tests(&tokens(source));
    let mut faults = Vec::new();
    for used in modules_used(&tokens, modules.len()) {
        match layer_of(&used) {
            Some(other) if other > layer => {
                faults.push(format!("src/{path}: `{own}` uses `{used}`, which is a layer above it"));
            }
            None if layer + 2 < LAYERS.len() => {
                faults.push(format!("src/{path}: name the module that `crate::{used}` is in, not a way around it"));
            }
            _ => {}
        }
    }
    faults
}

/// The first segment of each path from the crate's root: `crate::x`, `crate::{x, y::z}`, and as many `super` as the file is
/// deep.
fn modules_used(tokens: &[String], depth: usize) -> Vec<String> {
    let mut used = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let from_inside = at > 0 && tokens[at - 1] == ":";
        let begin = at;
        at += 1;
        if from_inside {
            continue;
        }
        let mut supers = 0;
        let mut next = begin;
        while tokens[next] == "super" && is_separator(tokens, next + 1) && next + 3 < tokens.len() {
            supers += 1;
            next += 3;
        }
        if tokens[begin] == "crate" && is_separator(tokens, begin + 1) {
            next = begin + 3;
        } else if supers < depth {
            continue;
        }
        match tokens.get(next).map(String::as_str) {
            Some("{") => used.extend(heads_of_group(&tokens[next + 1..])),
            Some(segment) => used.push(segment.to_owned()),
            None => {}
        }
    }
    used
}

fn is_separator(tokens: &[String], at: usize) -> bool {
    tokens.get(at..at + 2).is_some_and(|pair| pair == [":", ":"])
}

/// The first segments in `x, y::{a, b}, z}`.
fn heads_of_group(tokens: &[String]) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut at_head) = (0, true);
    for token in tokens {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => at_head = true,
            _ if at_head => {
                heads.push(token.clone());
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

/// Leaves out each item under `#[cfg(test)]`: to its `;` or the end of its first braces.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens.get(at..at + MARK.len()).is_none_or(|mark| mark != MARK) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        for token in &tokens[at..] {
            at += 1;
            match token.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}

/// Words and signs, without comments and the insides of literals.
fn tokens(source: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(length) = literal_length(rest) {
            length
        } else if is_word(first) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the block comment at the start; comments nest.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match (rest.starts_with(b"/*"), rest.starts_with(b"*/")) {
            (true, _) => depth += 1,
            (_, true) => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character literal at the start, if there is one; a lifetime is none.
fn literal_length(text: &str) -> Option<usize> {
    let unprefixed = text.trim_start_matches(['b', 'c']);
    if let Some(raw) = unprefixed.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(body) = raw[hashes..].strip_prefix('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let end = body.find(&end).map_or(body.len(), |at| at + end.len());
            return Some(text.len() - body.len() + end);
        }
    }
    let quote = unprefixed.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let body = &unprefixed[1..];
    let mut chars = body.char_indices();
    let inner = chars.next()?.1;
    if quote == '\'' && inner != '\\' && chars.next().is_none_or(|(_, c)| c != '\'') {
        return None;
    }
    let mut escaped = false;
    let end = body.char_indices().find(|(_, c)| {
        let is_end = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    Some(text.len() - body.len() + end.map_or(body.len(), |(at, _)| at + 1))
}
