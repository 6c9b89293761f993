//! The integration tests, in one binary: it links RocksDB once.
#![cfg(test)]

use std::{fs, path::Path};

mod cases;
mod checks;
#[cfg(feature = "cli")]
mod cli;
mod contested;
#[cfg(all(feature = "cli", feature = "rocksdb"))]
mod crash;
mod duplicates;
mod engines;
mod exports;
mod gc;
mod house;
mod layers;
mod merge;
mod odd_pdus;
mod orders;
mod pressure;
mod purge;
mod replay;
mod snapshots;
#[cfg(feature = "rocksdb")]
mod stores;
mod support;
mod views;

/// A file without its `mod` line is not compiled, and its tests never fail.
#[test]
fn no_file_of_the_suite_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    assert_eq!(undeclared(&folder, include_str!("main.rs"), &["main"]), [""; 0]);
}

/// The same for the library; `lib` is its root, and the files in `bin` are roots too.
#[test]
fn no_file_of_the_library_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut roots = fs::read_to_string(folder.join("lib.rs")).unwrap();
    for file in fs::read_dir(folder.join("bin")).unwrap() {
        roots += &fs::read_to_string(file.unwrap().path()).unwrap();
    }
    assert_eq!(undeclared(&folder, &roots, &["lib", "bin"]), [""; 0]);
}

#[test]
fn a_forgotten_file_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| fs::write(folder.path().join(path), text).unwrap();
    fs::create_dir(folder.path().join("state")).unwrap();
    write("kv.rs", "");
    write("state.rs", "pub mod read;\n// mod seal;\n");
    write("state/read.rs", "");
    write("state/seal.rs", "");
    assert_eq!(undeclared(folder.path(), "mod kv;\n#[cfg(unix)]\npub(crate) mod state;", &[]), ["state::seal"]);
    assert_eq!(undeclared(folder.path(), "mod kv_store; mod state;", &["state"]), ["kv"]);
}

/// The modules under `folder` that `parent`, the source of the module above, does not declare.
fn undeclared(folder: &Path, parent: &str, except: &[&str]) -> Vec<String> {
    let mut missing = Vec::new();
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if except.contains(&name) || !is_source {
            continue;
        }
        let declaration = format!("mod {name};");
        let is_declared = |line: &str| !line.trim_start().starts_with("//") && line.contains(&declaration);
        if !parent.lines().any(is_declared) {
            missing.push(name.to_owned());
        }
        let children = path.with_extension("");
        if children.is_dir() {
            let below = undeclared(&children, &fs::read_to_string(&path).unwrap(), &[]);
            missing.extend(below.into_iter().map(|child| format!("{name}::{child}")));
        }
    }
    missing
}
