//! Lines of `import`: bare PDUs, and wrappers that tell more of them.

use ruma_common::{OwnedEventId, OwnedServerName, RoomVersionId};

use crate::{
    encoding::json::{Json, MAX_DEPTH, Object},
    room::outcome::{Input, Kind},
};

/// A line, as an input.
#[derive(Debug)]
pub struct Line {
    /// The input.
    pub input: Input,
    /// The room that the PDU names.
    pub room_id: Option<Box<str>>,
}

/// The most JSON values of a line: the state of a very large room, and beside it a PDU that has nothing but values.
const VALUES_MAX: usize = 1 << 20;

/// The words of a line for kinds.
pub const KINDS: [(&str, Kind); 3] = [("new", Kind::New), ("old", Kind::Old), ("outlier", Kind::Outlier)];

/// A room version that this build knows.
pub fn room_version(name: &str) -> Result<RoomVersionId, String> {
    let known = RoomVersionId::try_from(name).ok().filter(|version| version.rules().is_some());
    known.ok_or_else(|| format!("room version `{name}` is not known"))
}

/// Reads a line: a wrapper if it has a member `pdu` and no `type`, else a PDU. `version` is taken where the line tells
/// none.
///
/// Every PDU has a `type`, and may have a field that is called `pdu` beside it: servers keep fields that they do not know.
pub fn parse(line: &[u8], version: Option<&RoomVersionId>) -> Result<Line, String> {
    let json = Json::parse_within(line, MAX_DEPTH.saturating_add(1), VALUES_MAX);
    let json = json.map_err(|error| format!("not JSON at byte {}: {}", error.offset, error.what))?;
    let object = json.as_object().ok_or("the line is not a JSON object")?;
    let (mut input, pdu) = match object.get("pdu").filter(|_| object.get("type").is_none()) {
        Some(pdu) => {
            let pdu = pdu.as_object().ok_or("`pdu` is not an object")?;
            (wrapped(object, pdu)?, pdu)
        }
        None => (Input::new(canonical(object)), object),
    };
    if input.room_version.is_none() {
        input.room_version = version.cloned();
    }
    Ok(Line { input, room_id: pdu.get_str("room_id").map(Into::into) })
}

fn wrapped(wrapper: &Object, pdu: &Object) -> Result<Input, String> {
    let text = |key: &str| match wrapper.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(&**text)),
        Some(_) => Err(format!("`{key}` is not a string")),
    };
    let mut input = Input::new(canonical(pdu));
    input.event_id = text("event_id")?.map(str::to_owned);
    input.room_version = text("room_version")?.map(room_version).transpose()?;
    if let Some(word) = text("kind")? {
        let kind = KINDS.into_iter().find(|(known, _)| *known == word);
        input.kind = kind.ok_or_else(|| format!("`kind` is `{word}`, not new, old or outlier"))?.1;
    }
    if let Some(origin) = text("origin")? {
        let parsed = OwnedServerName::try_from(origin);
        input.origin = Some(parsed.map_err(|_| format!("`origin` is `{origin}`, which is no server name"))?);
    }
    input.local = match wrapper.get("local") {
        None | Some(Json::Null) => false,
        Some(Json::Bool(local)) => *local,
        Some(_) => return Err("`local` is not true or false".to_owned()),
    };
    input.state = match wrapper.get("state") {
        None | Some(Json::Null) => None,
        Some(Json::Array(entries)) => Some(entries.iter().map(state_entry).collect::<Result<_, _>>()?),
        Some(_) => return Err("`state` is not an array".to_owned()),
    };
    Ok(input)
}

fn state_entry(entry: &Json) -> Result<OwnedEventId, String> {
    let event_id = entry.as_str().ok_or("`state` has an entry that is not a string")?;
    OwnedEventId::try_from(event_id).map_err(|_| format!("`state` has `{event_id}`, which is no event ID"))
}

fn canonical(pdu: &Object) -> Vec<u8> {
    let mut bytes = Vec::new();
    pdu.write_canonical(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        parse(line.as_bytes(), None).expect_err("the line is malformed")
    }

    #[test]
    fn a_line_without_pdu_is_a_pdu() {
        let line = parse(br#"{"type":"t","room_id":"!a","depth":1}"#, None).expect("it is an object");
        assert_eq!(line.input.pdu, br#"{"depth":1,"room_id":"!a","type":"t"}"#);
        assert_eq!(line.room_id.as_deref(), Some("!a"));
        assert_eq!((line.input.kind, line.input.event_id, line.input.room_version), (Kind::New, None, None));
    }

    #[test]
    fn a_line_with_a_type_is_a_pdu_whatever_else_it_has() {
        for pdu in ["1", r#"{"room_id":"!b","type":"inner"}"#] {
            let line = format!(r#"{{"event_id":"$e","kind":"old","pdu":{pdu},"room_id":"!a","type":"t"}}"#);
            let parsed = parse(line.as_bytes(), None).expect("it is an object");
            assert_eq!(parsed.input.pdu, line.as_bytes());
            assert_eq!(parsed.room_id.as_deref(), Some("!a"));
            assert_eq!((parsed.input.kind, parsed.input.event_id), (Kind::New, None));
        }
    }

    #[test]
    fn a_wrapper_tells_what_the_pdu_does_not() {
        let line = br#"{"pdu":{"a":1},"event_id":"$e","room_version":"6","kind":"old","origin":"o.org","local":true,
            "state":["$s"],"x":0}"#;
        let Line { input, .. } = parse(line, None).expect("it is well-formed");
        assert_eq!(input.pdu, br#"{"a":1}"#);
        assert_eq!((input.event_id.as_deref(), input.kind, input.local), (Some("$e"), Kind::Old, true));
        assert_eq!(input.room_version, Some(RoomVersionId::V6));
        assert_eq!(input.origin.expect("told"), "o.org");
        assert_eq!(input.state.expect("told"), ["$s"]);
    }

    #[test]
    fn numbers_reach_the_engine_unchanged() {
        let line = br#"{"pdu":{"big":123456789012345678901234567890,"float":0.1,"exponent":1e30}}"#;
        let Line { input, .. } = parse(line, None).expect("it is well-formed");
        assert_eq!(input.pdu, br#"{"big":123456789012345678901234567890,"exponent":1e+30,"float":0.1}"#);
    }

    #[test]
    fn the_line_wins_over_the_flag() {
        let version = |line: &[u8]| parse(line, Some(&RoomVersionId::V9)).expect("well-formed").input.room_version;
        assert_eq!(version(br#"{"pdu":{},"room_version":"6"}"#), Some(RoomVersionId::V6));
        assert_eq!(version(br#"{"pdu":{}}"#), Some(RoomVersionId::V9));
        assert_eq!(version(b"{}"), Some(RoomVersionId::V9));
    }

    #[test]
    fn wrong_types_are_named() {
        assert_eq!(refused("[]"), "the line is not a JSON object");
        assert_eq!(refused("{]"), "not JSON at byte 1: expected a key");
        assert_eq!(refused(r#"{"pdu":3}"#), "`pdu` is not an object");
        assert_eq!(refused(r#"{"pdu":{},"event_id":3}"#), "`event_id` is not a string");
        assert_eq!(refused(r#"{"pdu":{},"room_version":"99"}"#), "room version `99` is not known");
        assert_eq!(refused(r#"{"pdu":{},"kind":"newest"}"#), "`kind` is `newest`, not new, old or outlier");
        assert_eq!(refused(r#"{"pdu":{},"state":"$a"}"#), "`state` is not an array");
        assert_eq!(refused(r#"{"pdu":{},"state":[1]}"#), "`state` has an entry that is not a string");
        assert_eq!(refused(r#"{"pdu":{},"state":["a"]}"#), "`state` has `a`, which is no event ID");
        assert_eq!(refused(r#"{"pdu":{},"local":1}"#), "`local` is not true or false");
        assert_eq!(refused(r#"{"pdu":{},"origin":"/"}"#), "`origin` is `/`, which is no server name");
    }
}
