//! `docs/format.md` says what the code does.

use super::{
    Standing, TABLES,
    interning::{WELL_KNOWN_KEY_IDS, WELL_KNOWN_TYPES},
};
use crate::resolution::reason::Rule;

const FORMAT: &str = include_str!("../../docs/format.md");

/// The cells of the rows of the first table behind a heading, without the table's own heading.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = FORMAT.split_once(&format!("\n## {heading}\n")).expect("a section");
    let lines = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    lines.skip(2).map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn the_documented_tables_are_those_of_a_store() {
    let standing = |standing| match standing {
        Standing::Truth => "truth",
        Standing::Derived => "derived",
    };
    let documented: Vec<_> = rows("Tables").iter().map(|row| (row[0].trim_matches('`'), row[3])).collect();
    let tables: Vec<_> = TABLES.iter().map(|table| (table.spec.name, standing(table.standing))).collect();
    assert_eq!(documented.len(), tables.len());
    for (documented, table) in documented.iter().zip(tables) {
        // What lists and blocks are depends on the snapshot.
        let depends = matches!(table.0, "lists" | "blocks");
        assert!(*documented == table || depends && documented.0 == table.0, "{documented:?} {table:?}");
    }
}

#[test]
fn the_documented_well_known_names_have_these_numbers() {
    let names: Vec<_> =
        rows("Well-known names").iter().flat_map(|row| row[1].split(", ").map(|name| name.trim_matches('`'))).collect();
    assert_eq!(names, WELL_KNOWN_TYPES);
    for (place, key_id) in WELL_KNOWN_KEY_IDS.iter().enumerate() {
        assert!(FORMAT.contains(&format!("{} `{key_id}`", place + 1)), "{key_id}");
    }
}

#[test]
fn the_documented_rules_have_these_numbers() {
    let documented: Vec<_> = rows("Rules").iter().map(|row| (row[0].parse().unwrap(), row[1])).collect();
    let rules: Vec<_> = Rule::ALL.iter().map(|rule| (rule.code(), rule.text())).collect();
    assert_eq!(documented, rules);
}
