//! The content of `m.room.member` and of the `m.room.third_party_invite` that it may refer to.

use base64::{
    Engine as _,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};
use ruma_common::room_version_rules::AuthorizationRules;

use super::values::{PublicKey, is_user_id};
use crate::{
    encoding::json::{Json, Object},
    resolution::reason::{Reason, Rule},
    tables::current::Membership,
};

/// What the rules read of `m.room.member`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `membership`
    pub membership: Membership,
    /// `join_authorised_via_users_server`, from room version 8 on: a valid user ID, whose server must have signed
    /// the event, whatever the membership.
    pub authorised_via: Option<Box<str>>,
    /// `third_party_invite`, if the membership is `invite`.
    pub third_party_invite: Option<Box<SignedInvite>>,
}

/// The `signed` object of a third-party invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInvite {
    /// `mxid`: the user who was invited.
    pub mxid: Box<str>,
    /// `token`: the state key of the `m.room.third_party_invite` event.
    pub token: Box<str>,
    /// The Ed25519 signatures, of whatever signer.
    pub signatures: Box<[[u8; 64]]>,
    /// What they sign: the canonical JSON of the object without `signatures` and `unsigned`.
    pub message: Box<[u8]>,
}

impl Member {
    pub(super) fn parse(rules: &AuthorizationRules, content: &Object) -> Result<Self, Reason> {
        let membership = match content.get("membership") {
            Some(Json::String(membership)) => Membership::parse(rules, membership)
                .ok_or_else(|| Reason::new(Rule::MemberMembership, membership.clone()))?,
            Some(_) => return Err(Reason::new(Rule::MemberMembership, "not a string")),
            None => return Err(Reason::new(Rule::MemberMembership, "absent")),
        };
        // A value that denotes no user denotes no server either that could have signed the event.
        let authorised_via = match content.get("join_authorised_via_users_server") {
            Some(user) if rules.restricted_join_rule => match user.as_str().filter(|user| is_user_id(user)) {
                Some(user) => Some(user.into()),
                None => return Err(Reason::new(Rule::MemberAuthorisedVia, user.as_str().unwrap_or("not a string"))),
            },
            _ => None,
        };
        let third_party_invite = match content.get("third_party_invite") {
            Some(invite) if membership == Membership::Invite => Some(SignedInvite::parse(invite)?.into()),
            _ => None,
        };
        Ok(Self { membership, authorised_via, third_party_invite })
    }

    pub(super) fn bytes_beyond(&self) -> usize {
        let invite = self.third_party_invite.as_deref().map_or(0, |invite| {
            size_of::<SignedInvite>()
                + invite.mxid.len()
                + invite.token.len()
                + size_of_val(&*invite.signatures)
                + invite.message.len()
        });
        self.authorised_via.as_deref().map_or(0, str::len) + invite
    }
}

impl Membership {
    fn parse(rules: &AuthorizationRules, text: &str) -> Option<Self> {
        match text {
            "join" => Some(Self::Join),
            "invite" => Some(Self::Invite),
            "leave" => Some(Self::Leave),
            "ban" => Some(Self::Ban),
            "knock" if rules.knocking => Some(Self::Knock),
            _ => None,
        }
    }
}

impl SignedInvite {
    fn parse(invite: &Json) -> Result<Self, Reason> {
        let missing = |what| Reason::new(Rule::ThirdPartySigned, what);
        let signed = invite
            .as_object()
            .and_then(|invite| invite.get_object("signed"))
            .ok_or_else(|| missing("signed is not an object"))?;
        let mxid = signed.get_str("mxid").ok_or_else(|| missing("mxid is not a string"))?;
        let token = signed.get_str("token").ok_or_else(|| missing("token is not a string"))?;

        let mut message = signed.clone();
        message.remove("signatures");
        message.remove("unsigned");
        let mut bytes = Vec::new();
        message.write_canonical(&mut bytes);

        Ok(Self { mxid: mxid.into(), token: token.into(), signatures: signatures(signed), message: bytes.into() })
    }
}

/// Collects what may be a signature; "any signature in signed" counts, so what is none is passed over.
fn signatures(signed: &Object) -> Box<[[u8; 64]]> {
    let Some(signers) = signed.get_object("signatures") else { return Box::default() };
    signers
        .iter()
        .filter_map(|(_, by_key)| by_key.as_object())
        .flat_map(Object::iter)
        .filter(|(key_id, _)| key_id.starts_with("ed25519:"))
        .filter_map(|(_, signature)| decode(&STANDARD, signature))
        .collect()
}

/// Collects the public keys of an `m.room.third_party_invite`: `public_key`, and each `public_key` in `public_keys`.
///
/// "Any public key" counts, so what is none is passed over.
pub(super) fn public_keys(content: &Object) -> Box<[PublicKey]> {
    let others =
        content.get_array("public_keys").into_iter().flatten().filter_map(|key| key.as_object()?.get("public_key"));
    content.get("public_key").into_iter().chain(others).filter_map(decode_public_key).collect()
}

/// Decodes a public key in either alphabet: identity servers have published keys in the URL-safe one.
fn decode_public_key(key: &Json) -> Option<PublicKey> {
    decode(&STANDARD, key).or_else(|| decode(&URL_SAFE, key))
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);

fn decode<const N: usize>(engine: &GeneralPurpose, value: &Json) -> Option<[u8; N]> {
    engine.decode(value.as_str()?).ok()?.try_into().ok()
}
