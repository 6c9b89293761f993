//! Rule 5: `m.room.member`.

use super::{
    check::{Check, Checked, refuse},
    power::creators,
};
use crate::resolution::{
    content::{Field, JoinRule, Member, Membership},
    event::{AuthEvent, AuthState, PrevEvents},
    reason::Rule,
};

impl<S: AuthState + ?Sized> Check<'_, S> {
    /// Rule 5: If type is m.room.member.
    pub(super) fn check_member(&self, member: &Member, create: &AuthEvent) -> Checked {
        // 5.1 If there is no state_key property, or no membership property in content, reject.
        //     The parser has seen to membership. The state key need not be a user ID: clients ban misspelt ones, and
        //     whoever may ban a text may unban it.
        let Some(target) = self.event.state_key.as_deref() else { return refuse(Rule::MemberStateKey, "") };
        // 5.2 If content has a join_authorised_via_users_server key:
        // 5.2.1 If the event is not validly signed by the homeserver of the user ID denoted by the key, reject.
        //       The parser has seen to it that there is a user ID; who checks signatures does the rest.
        match member.membership {
            Membership::Join => self.check_join(target, member, create),
            Membership::Invite => self.check_invite(target, member, create),
            Membership::Leave => self.check_leave(target, create),
            Membership::Ban => self.check_ban(target, create),
            Membership::Knock => self.check_knock(target),
            // 5.8 Otherwise, the membership is unknown. Reject. (The parser has.)
        }
    }

    /// 5.3 If membership is join:
    fn check_join(&self, target: &str, member: &Member, create: &AuthEvent) -> Checked {
        // 5.3.1 If the only previous event is an m.room.create and the state_key is the sender of the m.room.create
        //       (versions 1 to 10: is the creator), allow.
        if self.event.prev_events == PrevEvents::OnlyCreate && creators(self.rules, create)?.next() == Some(target) {
            return Ok(());
        }
        // 5.3.2 If the sender does not match state_key, reject.
        if &*self.event.sender != target {
            return refuse(Rule::JoinSender, target);
        }
        // 5.3.3 If the sender is banned, reject.
        let membership = self.membership(target)?;
        if membership == Membership::Ban {
            return refuse(Rule::JoinBanned, target);
        }
        let is_invited = matches!(membership, Membership::Invite | Membership::Join);
        match self.join_rule()? {
            // 5.3.4 If the join_rule is invite or knock (knock: since version 7) then allow if membership state is
            //       invite or join.
            JoinRule::Invite | JoinRule::Knock if is_invited => Ok(()),
            // 5.3.5 If the join_rule is restricted (since version 8) or knock_restricted (since version 10):
            // 5.3.5.1 If membership state is join or invite, allow.
            JoinRule::Restricted | JoinRule::KnockRestricted if is_invited => Ok(()),
            JoinRule::Restricted | JoinRule::KnockRestricted => self.check_restricted_join(member, create),
            // 5.3.6 If the join_rule is public, allow.
            JoinRule::Public => Ok(()),
            // 5.3.7 Otherwise, reject.
            JoinRule::Invite | JoinRule::Knock | JoinRule::Other => refuse(Rule::JoinUninvited, target),
        }
    }

    /// 5.3.5.2 If the join_authorised_via_users_server key in content is not a user with sufficient permission to
    /// invite other users or is not a joined member of the room, reject.
    fn check_restricted_join(&self, member: &Member, create: &AuthEvent) -> Checked {
        let Some(user) = member.authorised_via.as_deref() else { return refuse(Rule::JoinUnauthorised, "nobody") };
        if self.membership(user)? != Membership::Join {
            return refuse(Rule::JoinUnauthorised, user);
        }
        let powers = self.powers(create)?;
        powers.require(powers.of(user)?, Field::Invite, Rule::JoinUnauthorised)
        // 5.3.5.3 Otherwise, allow.
    }

    /// 5.4 If membership is invite:
    fn check_invite(&self, target: &str, member: &Member, create: &AuthEvent) -> Checked {
        // 5.4.1 If content has a third_party_invite property:
        if let Some(invite) = &member.third_party_invite {
            return self.check_third_party_invite(target, invite);
        }
        // 5.4.2 If the sender's current membership state is not join, reject.
        if self.membership(&self.event.sender)? != Membership::Join {
            return refuse(Rule::InviteSenderNotJoined, self.event.sender.clone());
        }
        // 5.4.3 If target user's current membership state is join or ban, reject.
        if matches!(self.membership(target)?, Membership::Join | Membership::Ban) {
            return refuse(Rule::InviteTarget, target);
        }
        // 5.4.4 If the sender's power level is greater than or equal to the invite level, allow.
        // 5.4.5 Otherwise, reject.
        let powers = self.powers(create)?;
        powers.require(powers.of(&self.event.sender)?, Field::Invite, Rule::InviteLevel)
    }

    /// 5.5 If membership is leave:
    fn check_leave(&self, target: &str, create: &AuthEvent) -> Checked {
        let membership = self.membership(&self.event.sender)?;
        // 5.5.1 If the sender matches state_key, allow if and only if that user's current membership state is invite,
        //       join, or knock (knock: since version 7).
        if &*self.event.sender == target {
            return match membership {
                Membership::Invite | Membership::Join | Membership::Knock => Ok(()),
                Membership::Leave | Membership::Ban => refuse(Rule::LeaveMembership, target),
            };
        }
        // 5.5.2 If the sender's current membership state is not join, reject.
        if membership != Membership::Join {
            return refuse(Rule::KickSenderNotJoined, self.event.sender.clone());
        }
        let powers = self.powers(create)?;
        let power = powers.of(&self.event.sender)?;
        // 5.5.3 If the target user's current membership state is ban, and the sender's power level is less than the
        //       ban level, reject.
        if self.membership(target)? == Membership::Ban {
            powers.require(power, Field::Ban, Rule::UnbanLevel)?;
        }
        // 5.5.4 If the sender's power level is greater than or equal to the kick level, and the target user's power
        //       level is less than the sender's power level, allow.
        // 5.5.5 Otherwise, reject.
        powers.require(power, Field::Kick, Rule::KickLevel)?;
        let power_of_target = powers.of(target)?;
        if power_of_target < power {
            return Ok(());
        }
        refuse(Rule::KickLevel, format!("{power}, {target} has {power_of_target}"))
    }

    /// 5.6 If membership is ban:
    fn check_ban(&self, target: &str, create: &AuthEvent) -> Checked {
        // 5.6.1 If the sender's current membership state is not join, reject.
        if self.membership(&self.event.sender)? != Membership::Join {
            return refuse(Rule::BanSenderNotJoined, self.event.sender.clone());
        }
        // 5.6.2 If the sender's power level is greater than or equal to the ban level, and the target user's power
        //       level is less than the sender's power level, allow.
        // 5.6.3 Otherwise, reject.
        let powers = self.powers(create)?;
        let power = powers.of(&self.event.sender)?;
        powers.require(power, Field::Ban, Rule::BanLevel)?;
        let power_of_target = powers.of(target)?;
        if power_of_target < power {
            return Ok(());
        }
        refuse(Rule::BanLevel, format!("{power}, {target} has {power_of_target}"))
    }

    /// 5.7 If membership is knock (since version 7):
    fn check_knock(&self, target: &str) -> Checked {
        // 5.7.1 If the join_rule is anything other than knock or knock_restricted (the latter since version 10),
        //       reject.
        if !matches!(self.join_rule()?, JoinRule::Knock | JoinRule::KnockRestricted) {
            return refuse(Rule::KnockJoinRule, "");
        }
        // 5.7.2 If sender does not match state_key, reject.
        if &*self.event.sender != target {
            return refuse(Rule::KnockSender, target);
        }
        match self.membership(&self.event.sender)? {
            // 5.7.3 If the sender's current membership is not ban, invite, or join, allow.
            Membership::Leave | Membership::Knock => Ok(()),
            // 5.7.4 Otherwise, reject.
            Membership::Ban | Membership::Invite | Membership::Join => refuse(Rule::KnockMembership, target),
        }
    }
}
