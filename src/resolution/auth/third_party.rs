//! Rule 5.4.1: an invite that follows a third-party invite.

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};

use super::check::{Check, Checked, malformed_state, refuse};
use crate::resolution::{
    content::{Content, Membership, PublicKey, SignedInvite, types},
    event::AuthState,
    reason::Rule,
};

impl<S: AuthState + ?Sized> Check<'_, S> {
    /// 5.4.1 If content has a third_party_invite property:
    pub(super) fn check_third_party_invite(&self, target: &str, invite: &SignedInvite) -> Checked {
        // 5.4.1.1 If target user is banned, reject.
        if self.membership(target)? == Membership::Ban {
            return refuse(Rule::ThirdPartyTargetBanned, target);
        }
        // 5.4.1.2 If content.third_party_invite does not have a signed property, reject. (The parser has.)
        // 5.4.1.3 If signed does not have mxid and token properties, reject. (The parser has.)
        // 5.4.1.4 If mxid does not match state_key, reject.
        if &*invite.mxid != target {
            return refuse(Rule::ThirdPartyMxid, invite.mxid.clone());
        }
        // 5.4.1.5 If there is no m.room.third_party_invite event in the current room state with state_key matching
        //         token, reject.
        let Some(offer) = self.state.get(types::THIRD_PARTY_INVITE, &invite.token)? else {
            return refuse(Rule::ThirdPartyToken, invite.token.clone());
        };
        // 5.4.1.6 If sender does not match sender of the m.room.third_party_invite, reject.
        if self.event.sender != offer.sender {
            return refuse(Rule::ThirdPartySender, offer.sender.clone());
        }
        // 5.4.1.7 If any signature in signed matches any public key in the m.room.third_party_invite event, allow.
        let Content::ThirdPartyInvite(keys) = &offer.content else { return Err(malformed_state(&offer).into()) };
        if keys.iter().any(|key| has_signed(key, invite)) {
            return Ok(());
        }
        // 5.4.1.8 Otherwise, reject.
        refuse(Rule::ThirdPartySignature, format!("{} signatures, {} keys", invite.signatures.len(), keys.len()))
    }
}

/// Tells whether a signature of the invite is by this key. What is no point of the curve has signed nothing.
fn has_signed(key: &PublicKey, invite: &SignedInvite) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        let is_valid = |signature| key.verify(&invite.message, &Signature::from_bytes(signature)).is_ok();
        invite.signatures.iter().any(is_valid)
    })
}
