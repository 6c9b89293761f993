//! What is whole passes, and every damage is found, wherever it lies.

mod corruption;
mod flips;
pub(crate) mod room;
mod signatures;
#[path = "../../tests/it/support.rs"]
#[expect(dead_code, unreachable_patterns, reason = "it is made for integration tests, which use the rest")]
pub(crate) mod support;

use self::support::{feed, server, views};
use super::{Problem, Report, verify};
use crate::{
    Kind,
    encoding::bytes::stamp,
    kv::{Batch, Read, Store},
    tables::{KEY_ID_NAMES, KEY_IDS},
};

/// Every problem of a store.
fn problems(read: &dyn Read) -> (Report, Vec<Problem>) {
    let mut problems = Vec::new();
    let report = verify(read, &mut |problem| problems.push(problem.clone())).expect("readable");
    assert_eq!(report.problems, problems.len() as u64);
    (report, problems)
}

fn assert_whole(name: &str, read: &dyn Read) -> Report {
    let (report, problems) = problems(read);
    let shown: Vec<String> = problems.iter().take(20).map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{name}: {} problems\n{}", problems.len(), shown.join("\n"));
    report
}

#[test]
fn the_rooms_of_a_real_homeserver_are_whole_after_import() {
    for view in views() {
        let (server, store) = server();
        let events = view.inputs.iter().filter(|input| input.kind != Kind::Outlier).count();
        feed(&server, &view.inputs);
        let report = assert_whole(&view.name, &*store);
        assert_eq!(report.rooms, 1);
        assert!(report.events >= events as u64 && report.snapshots > 0);
    }
}

#[test]
fn a_room_is_whole_after_every_input() {
    let (server, store) = server();
    for input in room::story() {
        let is_outlier = input.kind == Kind::Outlier;
        server.submit(input).and_then(crate::Ticket::wait).expect("every input is taken");
        server.settle().expect("settles");
        if !is_outlier {
            assert_whole("the room", &*store);
        }
    }
}

/// No ID of a signing key that is so long gets a number any more; bodies that were written before name it by one.
#[test]
fn a_long_key_id_that_has_a_number_is_read() {
    let (server, store) = server();
    feed(&server, &views().swap_remove(0).inputs);
    drop(server);
    let names = support::rows(&*store, KEY_ID_NAMES);
    let (number, short) = names.first().expect("the servers' keys have numbers");
    let short = String::from_utf8(short[..short.len() - 4].to_vec()).expect("text");
    let long = format!("{short}{}", "k".repeat(30_000));
    let place = support::rows(&*store, KEY_IDS).into_iter().find(|(name, _)| name == short.as_bytes());
    let mut name = long.clone().into_bytes();
    stamp(number, &mut name);
    let mut batch = Batch::default();
    batch.put(KEY_ID_NAMES, number.clone(), name);
    batch.put(KEY_IDS, long.clone(), place.expect("it is there").1);
    batch.delete(KEY_IDS, short);
    store.write(batch).and_then(|_| store.sync()).expect("writable");
    let store = store.reopen();
    assert_whole("with a long key ID", &store);
    let server = support::open(std::sync::Arc::new(store));
    let mut named = 0;
    let view = server.view();
    view.rooms().expect("readable")[0]
        .records(&mut |record| {
            named += usize::from(record.event.pdu.expect("it has a body").contains(&long));
            Ok(true)
        })
        .expect("readable");
    assert!(named > 100, "{named}");
}

#[test]
fn the_server_checks_one_snapshot_of_itself() {
    let (server, _) = room::told();
    let report = server.verify(&mut |problem| panic!("{problem}")).expect("readable");
    assert_eq!((report.rooms, report.problems), (1, 0));
    assert!(report.blocks > 0);
}

#[test]
fn an_empty_store_is_whole() {
    let (_server, store) = server();
    assert_eq!(assert_whole("an empty store", &*store), Report::default());
}

#[test]
fn a_problem_names_room_table_key_and_what_is_wrong() {
    let problem = Problem {
        room: Some("!a:b.c".to_owned()),
        table: "heads",
        key: vec![0, 0, 0, 1],
        what: "the row is missing".to_owned(),
    };
    assert_eq!(problem.to_string(), "room !a:b.c, table heads, key 00000001: the row is missing");
    let problem = Problem { room: None, ..problem };
    assert_eq!(problem.to_string(), "table heads, key 00000001: the row is missing");
}
