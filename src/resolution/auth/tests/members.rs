//! The rules for members: join, invite, leave, kick, unban, ban, knock.

use serde_json::json;

use super::*;

fn join(user: &str) -> Draft {
    Draft::member(user, user, "join")
}

#[test]
fn a_member_event_needs_a_target_and_a_known_membership() {
    let of = |content| Draft::state("m.room.member", USER, USER, content);
    let refused = Some(Rule::MemberMembership);
    assert_verdicts(
        Room::new,
        &[
            (ALL, Draft::message("m.room.member", USER, json!({ "membership": "join" })), Some(Rule::MemberStateKey)),
            (ALL, of(json!({})), refused),
            (ALL, of(json!({ "membership": null })), refused),
            (ALL, of(json!({ "membership": 1 })), refused),
            (ALL, of(json!({ "membership": "joined" })), refused),
            (1..=6, of(json!({ "membership": "knock" })), refused),
            (7..=12, of(json!({ "membership": "knock" })), Some(Rule::KnockJoinRule)),
            (ALL, of(json!({ "membership": "join" })), None),
        ],
    );
}

/// Clients ban what somebody has typed, and then unban it. Elsewhere such a ban was refused, and with it all that
/// followed it.
#[test]
fn the_target_of_a_membership_need_not_be_a_user_id() {
    for target in ["@trailing:", "@", "@user", "user", "", ":", "@a b:c", "@user:b:c:d", "@\u{fffd}:b", "#room:b"] {
        let of = |sender, membership| Draft::member(sender, target, membership);
        let vouched = of(MOD, "join").with("join_authorised_via_users_server", json!(MOD));
        let rows = [
            (ALL, of(MOD, "ban"), None),
            (ALL, of(USER, "ban"), Some(Rule::BanLevel)),
            (ALL, of(GUEST, "ban"), Some(Rule::BanSenderNotJoined)),
            // Who has no membership may be kicked.
            (ALL, of(MOD, "leave"), None),
            (ALL, of(USER, "leave"), Some(Rule::KickLevel)),
            (ALL, of(USER, "invite"), None),
            // What is no user ID sends nothing, so neither can it join or knock.
            (ALL, of(MOD, "join"), Some(Rule::JoinSender)),
            (8..=12, vouched, Some(Rule::JoinSender)),
            (7..=12, of(MOD, "knock"), Some(Rule::KnockJoinRule)),
        ];
        assert_verdicts(Room::new, &rows);
        let banned = |version| Room::new(version).set(of(ADMIN, "ban"));
        let rows = [
            (ALL, of(MOD, "leave"), None),
            (ALL, of(USER, "leave"), Some(Rule::UnbanLevel)),
            (ALL, of(USER, "invite"), Some(Rule::InviteTarget)),
            (ALL, of(MOD, "ban"), None),
        ];
        assert_verdicts(banned, &rows);
        // It has the level of users that nobody names.
        let equal = |version| Room::new(version).level("users_default", json!(50));
        assert_verdicts(equal, &[(ALL, of(MOD, "ban"), Some(Rule::BanLevel)), (ALL, of(ADMIN, "ban"), None)]);
        let knocking = |version| Room::new(version).join_rule("knock");
        assert_verdicts(knocking, &[(7..=12, of(MOD, "knock"), Some(Rule::KnockSender))]);
    }
}

#[test]
fn a_creator_who_is_no_string_is_nobody_up_to_version_10() {
    for creator in [json!(5), json!(null), json!([CREATOR]), json!({}), json!(true)] {
        let room = |version: u8| {
            let content = json!({ "room_version": version.to_string(), "creator": creator });
            Room::bare(version).set(Draft::state("m.room.create", "", CREATOR, content))
        };
        let levels = Draft::state("m.room.power_levels", "", CREATOR, json!({ "users": { ADMIN: 100 } }));
        let rows = [
            (1..=10, join(CREATOR).after_create(), Some(Rule::JoinUninvited)),
            (1..=10, Draft::member(CREATOR, "5", "join").after_create(), Some(Rule::JoinSender)),
            (11..=12, join(CREATOR).after_create(), None),
        ];
        assert_verdicts(room, &rows);
        // Nobody has the creator's level.
        let rows = [(1..=10, levels.clone(), Some(Rule::EventLevel)), (11..=12, levels, None)];
        assert_verdicts(|version| room(version).member(CREATOR, "join"), &rows);
    }
}

#[test]
fn the_creator_joins_right_after_the_create_event() {
    let refused = Some(Rule::JoinUninvited);
    assert_verdicts(
        Room::bare,
        &[
            (ALL, join(CREATOR).after_create(), None),
            (ALL, join(CREATOR), refused),
            (ALL, join(USER).after_create(), refused),
            (ALL, join(USER), refused),
            // Whoever sends it: the rule names the state key alone.
            (ALL, Draft::member(USER, CREATOR, "join").after_create(), None),
        ],
    );
}

#[test]
fn the_creator_is_named_by_the_content_up_to_version_10_and_is_the_sender_after() {
    let room = |version: u8| {
        let content = json!({ "room_version": version.to_string(), "creator": USER, "additional_creators": [PEER] });
        Room::bare(version).set(Draft::state("m.room.create", "", CREATOR, content))
    };
    let refused = Some(Rule::JoinUninvited);
    assert_verdicts(
        room,
        &[
            (1..=10, join(USER).after_create(), None),
            (1..=10, join(CREATOR).after_create(), refused),
            (11..=12, join(USER).after_create(), refused),
            (11..=12, join(CREATOR).after_create(), None),
            // Additional creators have power but are not let in.
            (ALL, join(PEER).after_create(), refused),
        ],
    );
}

#[test]
fn nobody_joins_for_somebody_else_or_against_a_ban() {
    assert_verdicts(
        Room::new,
        &[
            (ALL, Draft::member(USER, STRANGER, "join"), Some(Rule::JoinSender)),
            (ALL, join(BANNED), Some(Rule::JoinBanned)),
            (ALL, join(STRANGER), None),
        ],
    );
}

#[test]
fn the_join_rule_decides_who_joins() {
    let uninvited = Some(Rule::JoinUninvited);
    let room = |rule: &'static str| move |version| Room::new(version).join_rule(rule);
    let rows = |versions: RangeInclusive<u8>, stranger, guest, member| {
        [
            (versions.clone(), join(STRANGER), stranger),
            (versions.clone(), join(GUEST), guest),
            (versions, join(USER), member),
        ]
    };
    assert_verdicts(room("public"), &rows(ALL, None, None, None));
    assert_verdicts(room("invite"), &rows(ALL, uninvited, None, None));
    assert_verdicts(room("private"), &rows(ALL, uninvited, uninvited, uninvited));
    assert_verdicts(room("com.example"), &rows(ALL, uninvited, uninvited, uninvited));
    // A rule that the version does not know lets nobody in.
    assert_verdicts(room("knock"), &rows(1..=6, uninvited, uninvited, uninvited));
    assert_verdicts(room("knock"), &rows(7..=12, uninvited, None, None));
    let unauthorised = Some(Rule::JoinUnauthorised);
    assert_verdicts(room("restricted"), &rows(1..=7, uninvited, uninvited, uninvited));
    assert_verdicts(room("restricted"), &rows(8..=12, unauthorised, None, None));
    assert_verdicts(room("knock_restricted"), &rows(1..=9, uninvited, uninvited, uninvited));
    assert_verdicts(room("knock_restricted"), &rows(10..=12, unauthorised, None, None));
}

/// Elsewhere nobody could join such a room, or even change a name in it.
#[test]
fn an_absent_join_rule_counts_as_invite() {
    let rows = [
        (ALL, join(STRANGER), Some(Rule::JoinUninvited)),
        (ALL, join(BANNED), Some(Rule::JoinBanned)),
        (ALL, join(GUEST), None),
        (ALL, join(USER).with("displayname", json!("U")), None),
        (7..=12, Draft::member(STRANGER, STRANGER, "knock"), Some(Rule::KnockJoinRule)),
        (8..=12, join(STRANGER).with("join_authorised_via_users_server", json!(MOD)), Some(Rule::JoinUninvited)),
    ];
    assert_verdicts(|version| Room::new(version).without("m.room.join_rules", ""), &rows);
    // The same for an event that does not say.
    for content in [json!({}), json!({ "allow": [] }), json!({ "Join_rule": "public" })] {
        let event = Draft::state("m.room.join_rules", "", ADMIN, content);
        assert_verdicts(Room::new, &[(ALL, event.clone(), None)]);
        assert_verdicts(|version| Room::new(version).set(event.clone()), &rows);
    }
}

#[test]
fn with_an_unusable_join_rule_nobody_joins() {
    let rows = [STRANGER, GUEST, USER].map(|user| (ALL, join(user), Some(Rule::JoinUninvited)));
    for rule in [json!(null), json!(["public"]), json!(1), json!(""), json!("Invite"), json!({})] {
        let event = Draft::state("m.room.join_rules", "", ADMIN, json!({ "join_rule": rule }));
        // No rule reads it when it is sent.
        assert_verdicts(Room::new, &[(ALL, event.clone(), None)]);
        assert_verdicts(|version| Room::new(version).set(event.clone()), &rows);
    }
}

#[test]
fn a_restricted_join_needs_a_joined_member_who_can_invite() {
    let via = |user: &str| join(STRANGER).with("join_authorised_via_users_server", json!(user));
    let refused = Some(Rule::JoinUnauthorised);
    for (rule, versions) in [("restricted", 8..=12), ("knock_restricted", 10..=12)] {
        let room = |version| Room::new(version).join_rule(rule).level("invite", json!(50));
        assert_verdicts(
            room,
            &[
                (versions.clone(), via(MOD), None),
                (versions.clone(), via(USER), refused),
                (versions.clone(), via(GUEST), refused),
                (versions.clone(), via(STRANGER), refused),
                (versions.clone(), join(STRANGER), refused),
            ],
        );
        assert_verdicts(|version| room(version).member(MOD, "leave"), &[(versions.clone(), via(MOD), refused)]);
        // The creator has level 0 here, and infinite power in version 12 without any level.
        assert_verdicts(room, &[(*versions.start()..=11, via(CREATOR), refused), (12..=12, via(CREATOR), None)]);
    }
}

#[test]
fn who_vouches_for_a_join_must_be_a_user_since_version_8() {
    for value in [json!(null), json!(1), json!("mod"), json!("@mod")] {
        for membership in ["join", "leave"] {
            let event = Draft::member(USER, USER, membership).with("join_authorised_via_users_server", value.clone());
            let rows = [(1..=7, event.clone(), None), (8..=12, event, Some(Rule::MemberAuthorisedVia))];
            assert_verdicts(Room::new, &rows);
        }
    }
}

#[test]
fn inviting_takes_a_joined_sender_a_free_target_and_the_invite_level() {
    let invite = |sender, target| Draft::member(sender, target, "invite");
    let target = Some(Rule::InviteTarget);
    assert_verdicts(
        Room::new,
        &[
            (ALL, invite(USER, STRANGER), None),
            (ALL, invite(USER, GUEST), None),
            (ALL, invite(GUEST, STRANGER), Some(Rule::InviteSenderNotJoined)),
            (ALL, invite(STRANGER, STRANGER), Some(Rule::InviteSenderNotJoined)),
            (ALL, invite(USER, MOD), target),
            (ALL, invite(USER, USER), target),
            (ALL, invite(USER, BANNED), target),
        ],
    );
    assert_verdicts(
        |version| Room::new(version).level("invite", json!(50)).member(USER, "leave"),
        &[(ALL, invite(MOD, USER), None), (ALL, invite(MOD, STRANGER), None)],
    );
    assert_verdicts(
        |version| Room::new(version).level("invite", json!(51)),
        &[(ALL, invite(MOD, STRANGER), Some(Rule::InviteLevel)), (ALL, invite(ADMIN, STRANGER), None)],
    );
}

#[test]
fn who_is_in_or_asked_in_may_leave() {
    let leave = |user| Draft::member(user, user, "leave");
    let refused = Some(Rule::LeaveMembership);
    assert_verdicts(
        Room::new,
        &[
            (ALL, leave(USER), None),
            (ALL, leave(GUEST), None),
            (ALL, leave(BANNED), refused),
            (ALL, leave(STRANGER), refused),
        ],
    );
    assert_verdicts(|version| Room::new(version).member(USER, "leave"), &[(ALL, leave(USER), refused)]);
    assert_verdicts(|version| Room::new(version).member(USER, "knock"), &[(7..=12, leave(USER), None)]);
}

#[test]
fn kicking_takes_the_kick_level_and_more_power_than_the_target() {
    let kick = |sender, target| Draft::member(sender, target, "leave");
    let refused = Some(Rule::KickLevel);
    assert_verdicts(
        Room::new,
        &[
            (ALL, kick(MOD, USER), None),
            (ALL, kick(MOD, GUEST), None),
            (ALL, kick(MOD, STRANGER), None),
            (ALL, kick(MOD, PEER), refused),
            (ALL, kick(MOD, ADMIN), refused),
            (ALL, kick(USER, GUEST), refused),
            (ALL, kick(GUEST, USER), Some(Rule::KickSenderNotJoined)),
            // The creator has level 0 here, but infinite power in version 12.
            (1..=11, kick(ADMIN, CREATOR), None),
            (12..=12, kick(ADMIN, CREATOR), refused),
            (1..=11, kick(CREATOR, ADMIN), refused),
            (12..=12, kick(CREATOR, ADMIN), None),
        ],
    );
    assert_verdicts(
        |version| Room::new(version).level("kick", json!(51)),
        &[(ALL, kick(MOD, USER), refused), (ALL, kick(ADMIN, USER), None)],
    );
}

#[test]
fn unbanning_takes_the_ban_level_and_the_kick_level() {
    let unban = |sender| Draft::member(sender, BANNED, "leave");
    assert_verdicts(Room::new, &[(ALL, unban(MOD), None), (ALL, unban(USER), Some(Rule::UnbanLevel))]);
    assert_verdicts(
        |version| Room::new(version).level("ban", json!(51)),
        &[(ALL, unban(MOD), Some(Rule::UnbanLevel)), (ALL, unban(ADMIN), None)],
    );
    assert_verdicts(
        |version| Room::new(version).level("kick", json!(51)),
        &[(ALL, unban(MOD), Some(Rule::KickLevel)), (ALL, unban(ADMIN), None)],
    );
}

#[test]
fn banning_takes_the_ban_level_and_more_power_than_the_target() {
    let ban = |sender, target| Draft::member(sender, target, "ban");
    let refused = Some(Rule::BanLevel);
    assert_verdicts(
        Room::new,
        &[
            (ALL, ban(MOD, USER), None),
            (ALL, ban(MOD, STRANGER), None),
            (ALL, ban(MOD, PEER), refused),
            (ALL, ban(MOD, MOD), refused),
            (ALL, ban(USER, STRANGER), refused),
            (ALL, ban(GUEST, USER), Some(Rule::BanSenderNotJoined)),
            (12..=12, ban(ADMIN, CREATOR), refused),
            (1..=11, ban(ADMIN, CREATOR), None),
        ],
    );
    assert_verdicts(
        |version| Room::new(version).level("ban", json!(51)),
        &[(ALL, ban(MOD, USER), refused), (ALL, ban(ADMIN, USER), None)],
    );
}

#[test]
fn creators_have_no_power_over_each_other() {
    let room = |version| {
        let create = create(version);
        let create = Draft::state("m.room.create", "", CREATOR, create).with("additional_creators", json!([PEER]));
        Room::new(version).set(create)
    };
    let rows = ["leave", "ban"].map(|membership| {
        let rule = if membership == "leave" { Rule::KickLevel } else { Rule::BanLevel };
        [
            (12..=12, Draft::member(PEER, CREATOR, membership), Some(rule)),
            (12..=12, Draft::member(CREATOR, PEER, membership), Some(rule)),
            (12..=12, Draft::member(PEER, ADMIN, membership), None),
            // Before version 12 the property means nothing.
            (1..=11, Draft::member(PEER, ADMIN, membership), Some(rule)),
        ]
    });
    assert_verdicts(room, &rows.concat());
}

#[test]
fn knocking_takes_a_join_rule_that_allows_it_and_nobody_inside() {
    let knock = |user| Draft::member(user, user, "knock");
    let refused = Some(Rule::KnockMembership);
    for (rule, versions) in [("knock", 7..=12), ("knock_restricted", 10..=12)] {
        let room = |version| Room::new(version).join_rule(rule).member(PEER, "knock").member(MOD, "leave");
        assert_verdicts(
            room,
            &[
                (versions.clone(), knock(STRANGER), None),
                (versions.clone(), knock(PEER), None),
                (versions.clone(), knock(MOD), None),
                (versions.clone(), knock(USER), refused),
                (versions.clone(), knock(GUEST), refused),
                (versions.clone(), knock(BANNED), refused),
                (versions.clone(), Draft::member(USER, STRANGER, "knock"), Some(Rule::KnockSender)),
            ],
        );
    }
    for rule in ["public", "invite", "restricted", "private"] {
        let rows = [(7..=12, knock(STRANGER), Some(Rule::KnockJoinRule))];
        assert_verdicts(|version| Room::new(version).join_rule(rule), &rows);
    }
    let rows = [(7..=9, knock(STRANGER), Some(Rule::KnockJoinRule))];
    assert_verdicts(|version| Room::new(version).join_rule("knock_restricted"), &rows);
}
