//! Events at which branches meet, cut off at every write. A state that was resolved and not stored with its event, or stored
//! without it, would be another state after a restart.

use std::{collections::BTreeMap, sync::Arc};

use roomserver::{Fingerprint, Outcome, RoomServer};
use serde_json::Value;

use crate::support::{View, ViewInput, feed, history, is_whole, open, room_id, server, view};

/// The places in a view of events of the graph with several prev events, and whether the state before one is that of none
/// of them.
fn merges(view: &View) -> Vec<(usize, bool)> {
    let told: BTreeMap<&str, (Option<Fingerprint>, Option<Fingerprint>)> =
        view.told.iter().map(|told| (told.event_id.as_str(), (told.before, told.after))).collect();
    let mut merges = Vec::new();
    for (place, input) in view.inputs.iter().enumerate() {
        let pdu: Value = serde_json::from_slice(&input.pdu).expect("JSON");
        let prevs = pdu["prev_events"].as_array().expect("a list");
        let prevs: Vec<&str> = prevs.iter().map(|prev| prev.as_str().or(prev[0].as_str()).expect("an ID")).collect();
        let after = |prev: &&str| told.get(prev).and_then(|told| told.1);
        let states: Option<Vec<Fingerprint>> = prevs.iter().map(after).collect();
        if let (Some((Some(before), _)), Some(states)) = (told.get(input.event_id.as_str()), states)
            && input.state.is_none()
            && states.len() > 1
        {
            merges.push((place, !states.contains(before)));
        }
    }
    merges
}

/// A few of them of each sort, from all over the view.
fn some_merges(view: &View) -> Vec<(usize, bool)> {
    let (new, known): (Vec<_>, Vec<_>) = merges(view).into_iter().partition(|(_, is_new)| *is_new);
    let some = |merges: Vec<(usize, bool)>| merges.clone().into_iter().step_by(merges.len().div_ceil(3).max(1));
    let mut some: Vec<_> = some(new).chain(some(known)).collect();
    some.sort_unstable();
    some
}

fn submit(server: &RoomServer, input: &ViewInput) -> Result<Outcome, roomserver::Error> {
    server.submit(input.to_input())?.wait()
}

#[test]
fn a_merge_that_was_cut_off_at_any_write_is_not_there_and_is_the_same_when_it_comes_again() {
    let (mut cuts, mut resolved) = (0, 0);
    for view in ["forks-v1.a", "forks-v10.a", "forks-v12.a"].map(view) {
        let (server, store) = server();
        let mut fed = 0;
        for (place, is_new) in some_merges(&view) {
            feed(&server, &view.inputs[fed..place]);
            fed = place;
            let room = room_id(&server);
            let before = history(&server, &room);
            let input = &view.inputs[place];
            for cut in 1.. {
                let failing = store.reopen();
                let broken = open(Arc::new(failing.clone()));
                failing.fail_write_after(cut);
                let done = submit(&broken, input).is_ok();
                drop(broken);
                if done {
                    break;
                }
                cuts += 1;
                for left in [failing.reopen(), failing.drop_unsynced()] {
                    let again = open(Arc::new(left));
                    assert!(is_whole(&again), "{}: {} at write {cut}", view.name, input.event_id);
                    assert_eq!(history(&again, &room), before, "{}: {} at write {cut}", view.name, input.event_id);
                    assert!(submit(&again, input).is_ok());
                    let known = history(&again, &room).remove(&input.event_id).expect("it is here");
                    let told = view.told.iter().find(|told| told.event_id == input.event_id).expect("told");
                    assert_eq!((known.before, known.after), (told.before, told.after), "{}", input.event_id);
                    assert!(is_whole(&again), "{}: {} after write {cut}", view.name, input.event_id);
                }
            }
            resolved += usize::from(is_new);
        }
    }
    assert!(cuts > 8 && resolved > 2, "{cuts} cuts, {resolved} states that no branch had");
}

/// A log that ends inside the batch of a merge: what a power cut leaves.
#[cfg(feature = "rocksdb")]
#[test]
fn a_merge_whose_batch_is_torn_off_the_log_at_any_byte_is_not_there_and_nothing_else_is_changed() {
    use std::{fs, path::Path};

    use roomserver::Options;

    fn log(directory: &Path) -> std::path::PathBuf {
        let files = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "log")).max().expect("a log")
    }

    fn copy(from: &Path) -> tempfile::TempDir {
        let to = tempfile::tempdir().expect("a directory");
        for entry in fs::read_dir(from).expect("readable") {
            let entry = entry.expect("readable");
            // As after a kill, the lock is nobody's.
            if entry.file_name() != "LOCK" {
                fs::copy(entry.path(), to.path().join(entry.file_name())).expect("copied");
            }
        }
        to
    }

    let view = view("forks-v10.a");
    let (place, _) = merges(&view).into_iter().find(|(place, is_new)| *is_new && *place > 60).expect("a resolution");
    let directory = tempfile::tempdir().expect("a directory");
    let server = RoomServer::open(directory.path(), &Options::default()).expect("opens");
    feed(&server, &view.inputs[..place]);
    let room = room_id(&server);
    let before = history(&server, &room);
    let begin = fs::metadata(log(directory.path())).expect("readable").len();
    submit(&server, &view.inputs[place]).expect("valid");
    server.settle().expect("settles");
    let after = history(&server, &room);
    let killed = copy(directory.path());
    let end = fs::metadata(log(killed.path())).expect("readable").len();
    assert!(end > begin + 100, "the batch is in the log");
    for length in (begin..end).step_by(29).chain([end - 1, end]) {
        let torn = copy(killed.path());
        let file = fs::OpenOptions::new().write(true).open(log(torn.path())).expect("opens");
        file.set_len(length).expect("cut");
        let again = RoomServer::open(torn.path(), &Options::default()).expect("a torn tail opens");
        assert!(is_whole(&again), "cut at {length} of {begin} to {end}");
        assert_eq!(history(&again, &room), if length == end { after.clone() } else { before.clone() });
        submit(&again, &view.inputs[place]).expect("valid");
        assert_eq!(history(&again, &room), after, "cut at {length} of {begin} to {end}");
        assert!(is_whole(&again));
    }
}
