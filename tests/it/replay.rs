//! Real rooms, with a real homeserver's answers: verdict and states of every event, current state, extremities.

use std::collections::BTreeMap;

use crate::support::{feed, server, verdict_word, views};

#[test]
fn every_answer_of_a_real_homeserver_is_matched() {
    let mut wrong = Vec::new();
    let views = views();
    assert!(!views.is_empty());
    for view in &views {
        let (server, _) = server();
        for (input, outcome) in view.inputs.iter().zip(feed(&server, &view.inputs)) {
            if let Err(error) = outcome {
                wrong.push(format!("{} {}: {error}", view.name, input.event_id));
            }
        }
        let reader = server.view();
        let rooms = reader.rooms().expect("readable");
        let room = &rooms[0];
        let mut seen = BTreeMap::new();
        room.history(&mut |entry| {
            seen.insert(entry.event.event_id.to_string(), entry);
            Ok(true)
        })
        .expect("readable");
        for told in &view.told {
            let Some(entry) = seen.get(&told.event_id) else {
                wrong.push(format!("{} {}: not in the history", view.name, told.event_id));
                continue;
            };
            let verdict = verdict_word(&entry.event.verdict);
            if told.verdict.is_some_and(|told| told != verdict) {
                let (told, reason) = (told.verdict, &entry.event.reason);
                wrong.push(format!("{} {}: {verdict} ({reason:?}), not {told:?}", view.name, entry.event.event_id));
            }
            for (what, told, got) in
                [("before", told.before, entry.state_before), ("after", told.after, entry.state_after)]
            {
                if told.is_some() && told != got {
                    wrong.push(format!("{} {}: the state {what} differs", view.name, entry.event.event_id));
                }
            }
        }
        if room.current_summary().0 != view.current_state {
            wrong.push(format!("{}: the current state differs", view.name));
        }
        let mut extremities: Vec<String> =
            room.extremities().expect("readable").iter().map(ToString::to_string).collect();
        extremities.sort();
        let mut told = view.extremities.clone();
        told.sort();
        if extremities != told {
            wrong.push(format!("{}: the extremities are {extremities:?}, not {told:?}", view.name));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}
