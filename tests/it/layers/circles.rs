//! Files of one layer import each other without circles.
//!
//! Files that import each other are one file cut in two: neither can be read without the other. A parent may hand out what
//! its children have (`pub use self::child::Item`): who imports that from the parent imports from the child.

use std::collections::{BTreeMap, BTreeSet};

use super::{EXEMPT, read_library, tokens, without_tests};

/// Modules that have circles among their own files, still.
const WITH_CIRCLES: &[&str] = &["generate"];

/// The path of a module from the crate's root.
type Module = Vec<String>;

/// A file, as far as it matters what it imports.
struct File {
    /// What `use` brings into it.
    imports: Vec<Import>,
    /// Every other path that begins at `crate`, `super`, `self` or a child.
    paths: Vec<Vec<String>>,
    /// The words that stand outside of `use`.
    words: BTreeSet<String>,
}

/// One name that `use` brings into a file.
struct Import {
    path: Vec<String>,
    name: String,
    is_handed_out: bool,
}

#[test]
fn files_of_one_folder_import_without_circles() {
    let sources = read_library();
    let folders: BTreeSet<&str> =
        sources.keys().map(|path| path.trim_end_matches(".rs").split('/').next().unwrap()).collect();
    assert!(folders.len() > 10, "{folders:?} are not the library");
    let mut faults = Vec::new();
    for folder in folders.into_iter().filter(|folder| !EXEMPT.contains(folder)) {
        let of_folder = |path: &str| path.trim_end_matches(".rs").split('/').next() == Some(folder);
        let sources = sources.iter().filter(|(path, _)| of_folder(path));
        let circle = circle(sources.map(|(path, source)| (&**path, &**source)), WITH_CIRCLES);
        faults.extend(circle.map(|circle| circle.join(" -> ")));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_circle_is_found() {
    for (what, files) in [
        ("two files", &[("a.rs", ""), ("a/b.rs", "use super::c::C;"), ("a/c.rs", "use super::b::B;")][..]),
        ("from the root", &[("a/b.rs", "use crate::a::c::C;"), ("a/c.rs", "use crate::{a::{b::B}, ids};")]),
        (
            "three files",
            &[("a/b.rs", "use super::c;"), ("a/c.rs", "use super::d::D;"), ("a/d.rs", "fn f() { super::b::f() }")],
        ),
        ("a parent that uses its child", &[("a.rs", "use self::b::B; struct A;"), ("a/b.rs", "use super::A;")]),
        ("a parent that calls its child", &[("a.rs", "mod b; fn f() { b::f() }"), ("a/b.rs", "use super::A;")]),
        ("a child that calls its parent", &[("a.rs", "use b::B;"), ("a/b.rs", "fn f() { super::f() }")]),
        (
            "a parent that uses what it hands out",
            &[("a.rs", "pub use b::B; fn f(_: B) {}"), ("a/b.rs", "use super::A;")],
        ),
        (
            "through what the parent hands out",
            &[("a.rs", "pub use self::{b::B, c::C};"), ("a/b.rs", "use super::C;"), ("a/c.rs", "use super::B;")],
        ),
        (
            "through what it hands out by another name",
            &[("a.rs", "pub use self::c::C as D;"), ("a/b.rs", "use super::D;"), ("a/c.rs", "use super::b;")],
        ),
        ("deep below", &[("a/b.rs", "use super::c::d::D;"), ("a/c/d.rs", "use super::super::b::B;")]),
        (
            "one file to itself and back",
            &[("a.rs", "pub use b::B;"), ("a/b.rs", "mod c; use c::C;"), ("a/b/c.rs", "use super::super::B;")],
        ),
    ] {
        assert!(circle(files.iter().copied(), &[]).is_some(), "{what}");
    }
    let files =
        [("a.rs", ""), ("a/b.rs", "use super::c::C;"), ("a/c.rs", "use super::b::B;"), ("a/d.rs", "use super::b;")];
    assert_eq!(circle(files.into_iter(), &[]).unwrap(), ["a/b.rs", "a/c.rs", "a/b.rs"]);
}

#[test]
fn where_no_circle_is_none_is_found() {
    for (what, files) in [
        (
            "one way",
            &[("a.rs", "mod b; use b::B;"), ("a/b.rs", "use super::c::{C, D};"), ("a/c.rs", "use crate::ids::B;")][..],
        ),
        (
            "a parent that only hands out",
            &[("a.rs", "mod b; pub use self::b::B; struct A;"), ("a/b.rs", "use super::A;")],
        ),
        (
            "siblings through what it hands out",
            &[("a.rs", "pub use self::{b::B, c::C};"), ("a/b.rs", "use super::C;"), ("a/c.rs", "use crate::x::C;")],
        ),
        ("tests", &[("a/b.rs", "use super::c::C;"), ("a/c.rs", "#[cfg(test)] mod tests { use super::super::b::B; }")]),
        ("files of tests", &[("a/b.rs", "use super::tests::C;"), ("a/tests.rs", "use super::b::B;")]),
        ("comments", &[("a/b.rs", "use super::c::C;"), ("a/c.rs", "/// [`B`](super::b::B)\nstruct C; // super::b::B")]),
        (
            "names that are modules elsewhere",
            &[("a/b.rs", "use super::c::C;"), ("a/c.rs", "fn f() { b::f(); x.b::<u8>() }")],
        ),
        ("other folders", &[("a/b.rs", "use crate::c::b::B;")]),
        ("itself", &[("a/b.rs", "use super::b::B; fn f() { self::g() }")]),
    ] {
        assert_eq!(circle(files.iter().copied(), &[]), None, "{what}");
    }
}

#[test]
fn a_module_that_is_known_to_have_circles_hides_no_others() {
    let files = [
        ("a/b.rs", "use self::c::C;"),
        ("a/b/c.rs", "use super::B;"),
        ("a/d.rs", "use super::e::E;"),
        ("a/e.rs", "use super::d::D;"),
    ];
    assert_eq!(circle(files.into_iter(), &["a/b"]).unwrap(), ["a/d.rs", "a/e.rs", "a/d.rs"]);
    assert_eq!(circle(files.into_iter(), &["a/b", "a"]), None);
}

/// A circle among the files of a folder: the files in the order in which they import each other, the first again at the
/// end. What the files of one of the modules in `except` import of each other is not looked at.
fn circle<'s>(sources: impl Iterator<Item = (&'s str, &'s str)>, except: &[&str]) -> Option<Vec<String>> {
    let module = |path: &str| -> Module { path.trim_end_matches(".rs").split('/').map(str::to_owned).collect() };
    let sources: Vec<(Module, &str)> = sources.map(|(path, source)| (module(path), source)).collect();
    let sources = sources.into_iter().filter(|(module, _)| module[1..].iter().all(|part| part != "tests"));
    let sources: BTreeMap<Module, &str> = sources.collect();
    let files = sources.iter().map(|(module, source)| {
        let children = sources.keys().filter(|other| other.starts_with(module) && other.len() == module.len() + 1);
        let children = children.map(|child| child[module.len()].as_str()).collect();
        (module.clone(), File::read(source, &children))
    });
    let files: BTreeMap<Module, File> = files.collect();
    let except: Vec<Module> = except.iter().map(|path| module(path)).collect();
    let is_known = |at: &Module, to: &Module| except.iter().any(|known| at.starts_with(known) && to.starts_with(known));
    let mut edges: BTreeMap<&Module, BTreeSet<Module>> = files.keys().map(|at| (at, edges(&files, at))).collect();
    edges.iter_mut().for_each(|(at, to)| to.retain(|to| !is_known(at, to)));
    // Whatever imports nothing that is left is in no circle.
    loop {
        let left: BTreeSet<Module> = edges.keys().map(|at| (*at).clone()).collect();
        edges.values_mut().for_each(|to| to.retain(|to| left.contains(to)));
        let before = edges.len();
        edges.retain(|_, to| !to.is_empty());
        if edges.len() == before {
            break;
        }
    }
    let mut way: Vec<&Module> = edges.keys().next().copied().into_iter().collect();
    loop {
        let next = edges.get(way.last()?)?.first()?;
        if let Some(begin) = way.iter().position(|at| *at == next) {
            let circle = way[begin..].iter().copied().chain([next]);
            return Some(circle.map(|at| format!("{}.rs", at.join("/"))).collect());
        }
        way.push(edges.get_key_value(next)?.0);
    }
}

/// The files that a file needs, without itself.
fn edges(files: &BTreeMap<Module, File>, at: &Module) -> BTreeSet<Module> {
    let file = &files[at];
    let used = file.imports.iter().filter(|import| {
        // What a parent only hands out of its children it does not need itself.
        let target = target(files, at, &import.path);
        let is_below = target.is_some_and(|target| target.len() > at.len() && target.starts_with(at));
        !(import.is_handed_out && is_below) || file.words.contains(&import.name)
    });
    let paths = used.map(|import| &import.path).chain(&file.paths);
    let targets = paths.filter_map(|path| target(files, at, path));
    targets.filter(|target| target != at).collect()
}

/// The file that has what a path in a file names; `None` if it is in another folder.
fn target(files: &BTreeMap<Module, File>, at: &Module, path: &[String]) -> Option<Module> {
    let mut at = at.clone();
    let mut path = path.to_vec();
    // Each step goes to another file; a circle of names that are handed out would go on for ever.
    for _ in 0..16 {
        let mut rest = path.iter().peekable();
        if rest.peek().is_some_and(|first| *first == "crate") {
            at.clear();
            rest.next();
        }
        while let Some(step) = rest.next_if(|step| *step == "self" || *step == "super") {
            if step == "super" {
                at.pop();
            }
        }
        while let Some(next) = rest.peek() {
            let child: Module = at.iter().chain([*next]).cloned().collect();
            let is_folder = || files.keys().any(|file| file.starts_with(&child));
            if !files.contains_key(&child) && !is_folder() {
                break;
            }
            at = child;
            rest.next();
        }
        let Some(item) = rest.next() else { break };
        let handed_out = files.get(&at).and_then(|file| file.imports.iter().find(|import| import.name == *item));
        match handed_out {
            Some(import) if import.path != path => path = import.path.clone(),
            _ => break,
        }
    }
    files.contains_key(&at).then_some(at)
}

impl File {
    fn read(source: &str, children: &BTreeSet<&str>) -> Self {
        let tokens = without_tests(&tokens(source));
        let mut file = Self { imports: Vec::new(), paths: Vec::new(), words: BTreeSet::new() };
        let is_begin = |token: &str| ["crate", "super", "self"].contains(&token) || children.contains(token);
        let (mut at, mut statement) = (0, 0);
        while at < tokens.len() {
            let token = tokens[at].as_str();
            if token == "use" {
                let end = at + tokens[at..].iter().position(|token| token == ";").unwrap_or(tokens.len() - at);
                let is_handed_out = tokens[statement..at].iter().any(|token| token == "pub");
                let mut imports = Vec::new();
                read_tree(&tokens[at + 1..end], &[], &mut imports);
                let imports = imports.into_iter().filter(|(path, _)| path.first().is_some_and(|first| is_begin(first)));
                file.imports.extend(imports.map(|(path, name)| Import { path, name, is_handed_out }));
                at = end;
                continue;
            }
            if [";", "{", "}", "]"].contains(&token) {
                statement = at + 1;
            }
            let is_inside = at > 0 && [":", "."].contains(&tokens[at - 1].as_str());
            let is_path = |at: usize| tokens.get(at..at + 2).is_some_and(|pair| pair == [":", ":"]);
            if is_begin(token) && !is_inside && is_path(at + 1) {
                let mut path = vec![token.to_owned()];
                let mut next = at + 1;
                while is_path(next) && tokens.get(next + 2).is_some_and(|token| is_word(token)) {
                    path.push(tokens[next + 2].clone());
                    next += 3;
                }
                file.paths.push(path);
            }
            if is_word(token) {
                file.words.insert(token.to_owned());
            }
            at += 1;
        }
        file
    }
}

fn is_word(token: &str) -> bool {
    token.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Reads what follows `use`, or a group within it, up to its end: each path with the name that it gets. Gives the place of
/// that end.
fn read_tree(tokens: &[String], prefix: &[String], imports: &mut Vec<(Vec<String>, String)>) -> usize {
    let mut at = 0;
    loop {
        let (begin, mut path, mut alias, mut is_group) = (at, prefix.to_vec(), None, false);
        while at < tokens.len() && ![",", "}"].contains(&tokens[at].as_str()) {
            match tokens[at].as_str() {
                "{" => {
                    at += 1 + read_tree(&tokens[at + 1..], &path, imports);
                    is_group = true;
                }
                "as" => {
                    at += 1;
                    alias = tokens.get(at).cloned();
                }
                // In a group it is what stands before it; a star is everything in that.
                "self" if !path.is_empty() => {}
                ":" | "*" => {}
                part => path.push(part.to_owned()),
            }
            at += 1;
        }
        if at > begin && !is_group {
            let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
            imports.push((path, name));
        }
        if tokens.get(at).is_none_or(|end| end != ",") {
            return at;
        }
        at += 1;
    }
}
