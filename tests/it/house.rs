//! House rules that no compiler checks.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the project: path from its root, and content.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    collect(root(), &mut files);
    assert!(files.iter().any(|(path, _)| path == "Cargo.toml"), "these are not the project's files");
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    // What `.gitignore` names: built, or found by fuzzing.
    const NOT_OURS: &[&str] = &[".git", "target", "fuzz/target", "fuzz/corpus", "fuzz/artifacts"];
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if NOT_OURS.contains(&name.as_str()) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else {
            let content = fs::read(&path).unwrap();
            files.push((name, content));
        }
    }
}

fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    [".rs", ".toml", ".sh", ".md"].iter().any(|end| name.ends_with(end)) || ["Makefile", "run"].contains(&name)
}

/// Machines build from mirrors: a host that is written down is one more thing that can be out of reach. `Cargo.lock` is
/// Cargo's own: there the name means "the default registry", whatever stands in for it.
#[test]
fn no_file_names_a_package_registry() {
    for (path, content) in files() {
        if path.ends_with("Cargo.lock") {
            continue;
        }
        assert_eq!(registry_in(&content), None, "{path}");
    }
}

#[test]
fn a_package_registry_is_recognised() {
    for (name, domain) in REGISTRIES {
        assert!(registry_in(format!("see https://static.{name}.{domain}/x").as_bytes()).is_some());
    }
    assert_eq!(registry_in(b"crates, io"), None);
}

/// In two parts, so that this file names none.
const REGISTRIES: &[(&str, &str)] =
    &[("crates", "io"), ("npmjs", "org"), ("pypi", "org"), ("debian", "org"), ("ubuntu", "com"), ("rubygems", "org")];

fn registry_in(content: &[u8]) -> Option<String> {
    let content = content.to_ascii_lowercase();
    let names = REGISTRIES.iter().map(|(name, domain)| format!("{name}.{domain}"));
    names.into_iter().find(|name| content.windows(name.len()).any(|window| window == name.as_bytes()))
}

/// A note without an issue is a note that nobody will find.
#[test]
fn every_to_do_has_a_number() {
    for (path, content) in files().into_iter().filter(|(path, _)| is_text(path)) {
        for (number, line) in (1..).zip(String::from_utf8(content).unwrap().lines()) {
            assert!(!has_loose_end(line), "{path}:{number}: {line}");
        }
    }
}

#[test]
fn a_to_do_without_a_number_is_recognised() {
    let mark = ["TO", "DO"].concat();
    assert!(has_loose_end(&format!("// {mark}: later")));
    assert!(has_loose_end(&format!("// {mark}(me): later")));
    assert!(has_loose_end(&format!("// {mark}(#): {mark}(#12): later")));
    assert!(has_loose_end(&["// FIX", "ME(#12)"].concat()));
    assert!(!has_loose_end(&format!("// {mark}(#12): later")));
}

fn has_loose_end(line: &str) -> bool {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let [to_do, others @ ..] = &marks;
    let numbered = |rest: &str| {
        let digits = rest.strip_prefix("(#").and_then(|rest| rest.split_once(')')).map(|(digits, _)| digits);
        digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    // House style itself is quoted as `(#n)`.
    let mut parts = line.split(to_do.as_str()).skip(1);
    parts.any(|rest| !numbered(rest) && !rest.starts_with("(#n)")) || others.iter().any(|mark| line.contains(mark))
}

/// A fixture whose origin is forgotten can be neither trusted nor made again.
#[test]
fn every_folder_of_fixtures_is_described() {
    let files = files();
    let is_fixture = |path: &str| {
        ["tests/", "examples/", "fuzz/", "benches/"].iter().any(|top| path.starts_with(top))
            && !is_text(path)
            && !path.ends_with("Cargo.lock")
    };
    let readmes: Vec<(&str, String)> = files
        .iter()
        .filter_map(|(path, content)| {
            Some((path.strip_suffix("README.md")?, String::from_utf8(content.clone()).unwrap()))
        })
        .collect();
    let mut seen = 0;
    for (path, _) in files.iter().filter(|(path, _)| is_fixture(path)) {
        seen += 1;
        let folder = &path[..=path.rfind('/').unwrap()];
        let name = format!("{}/", folder.trim_end_matches('/').rsplit('/').next().unwrap());
        // In its own README, or in one above that names the folder.
        let described = readmes
            .iter()
            .any(|(at, text)| *at == folder || (!at.is_empty() && folder.starts_with(at) && text.contains(&name)));
        assert!(described, "{path}: no README.md tells what is in {folder}");
    }
    assert!(seen > 0, "no fixtures were found");
}

/// A file that is too long hides two.
#[test]
fn no_source_file_has_more_than_600_lines_of_production_code() {
    for (path, content) in files().into_iter().filter(|(path, _)| path.starts_with("src/") && path.ends_with(".rs")) {
        let text = String::from_utf8(content).unwrap();
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            continue;
        }
        let production = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        // `mod tests;` stands above the code where the tests are in a file of their own.
        let lines = if text.contains("mod tests {") { production } else { text.lines().count() };
        assert!(lines <= 600, "{path} has {lines} lines: split it");
    }
}
