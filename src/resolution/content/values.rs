//! Values that several event types have in their content.

use ruma_common::UserId;

/// An Ed25519 public key, not known to be a point of the curve.
pub type PublicKey = [u8; 32];

/// Tells whether `text` passes the validation that senders pass (specification, appendices, "User Identifiers").
pub(crate) fn is_user_id(text: &str) -> bool {
    <&UserId>::try_from(text).is_ok()
}
