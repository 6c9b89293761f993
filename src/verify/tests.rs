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
use crate::{Kind, kv::Read};

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
