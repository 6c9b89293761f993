//! Rule 10: `m.room.power_levels`.

use super::{
    check::{Check, Checked, refuse},
    power::{Power, Powers},
};
use crate::resolution::{
    content::{Field, PowerLevels},
    event::AuthState,
    reason::Rule,
};

impl<S: AuthState + ?Sized> Check<'_, S> {
    /// Rule 10: If type is m.room.power_levels. `power` is the sender's.
    pub(super) fn check_power_levels(&self, new: &PowerLevels, powers: &Powers<'_>, power: Power) -> Checked {
        // 10.1 If any of the properties users_default, events_default, state_default, ban, redact, kick, or invite in
        //      content are present and not an integer, reject. (The parser has, as for 10.2 and 10.3. 10.1 and 10.2
        //      are rules since version 10: before, what they name counts as absent, here and in the current event.)
        // 10.2 If either of the properties events or notifications in content are present and not an object with
        //      values that are integers, reject.
        // 10.3 If the users property in content is not an object with keys that are valid user IDs with values that
        //      are integers (versions 1 to 9: or a string that is an integer), reject.
        // 10.4 If the users property in content contains the sender of the m.room.create event or any of the
        //      additional_creators array (if present) from the content of the m.room.create event, reject.
        if self.rules.explicitly_privilege_room_creators
            && let Some(creator) = powers.creators()?.find(|creator| new.users.get(creator).is_some())
        {
            return refuse(Rule::PowerLevelsCreator, creator);
        }
        // 10.5 If there is no previous m.room.power_levels event in the room, allow.
        let Some(current) = powers.current()? else { return Ok(()) };

        // 10.6 For the properties users_default, events_default, state_default, ban, redact, kick, invite check if
        //      they were added, changed or removed. For each found alteration:
        for field in Field::ALL {
            if current.field(field) == new.field(field) {
                continue;
            }
            // 10.6.1 If the current value is higher than the sender's current power level, reject.
            // 10.6.2 If the new value is higher than the sender's current power level, reject.
            //        "Power levels are inferred from defaults when not explicitly supplied."
            if power < current.field_or_default(field) || power < new.field_or_default(field) {
                return refuse(Rule::PowerLevelsField, field.name());
            }
        }

        // 10.7 For each entry being changed in, or removed from, the events or notifications properties:
        // 10.7.1 If the current value is greater than the sender's current power level, reject.
        // 10.8 For each entry being added to, or changed in, the events or notifications properties:
        // 10.8.1 If the new value is greater than the sender's current power level, reject.
        //        (notifications: since version 6; before, the parser leaves them out.)
        let is_above = |level: Option<i64>| level.is_some_and(|level| power < level);
        for (rule, current, new) in [
            (Rule::PowerLevelsEvents, &current.events, &new.events),
            (Rule::PowerLevelsNotifications, &current.notifications, &new.notifications),
        ] {
            if let Some((name, ..)) = current.changes(new).find(|(_, old, new)| is_above(*old) || is_above(*new)) {
                return refuse(rule, name);
            }
        }

        for (user, old, new) in current.users.changes(&new.users) {
            // 10.9 For each entry being changed in, or removed from, the users property, other than the sender's own
            //      entry:
            // 10.9.1 If the current value is greater than or equal to the sender's current power level, reject.
            let is_out_of_reach = user != &*self.event.sender && old.is_some_and(|level| power <= level);
            // 10.10 For each entry being added to, or changed in, the users property:
            // 10.10.1 If the new value is greater than the sender's current power level, reject.
            if is_out_of_reach || is_above(new) {
                return refuse(Rule::PowerLevelsUsers, user);
            }
        }
        // 10.11 Otherwise, allow.
        Ok(())
    }
}
