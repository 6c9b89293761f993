//! Guards against JSON that is read as something else than what its sender hashed.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Json, JsonError> {
    Json::parse(text.as_bytes())
}

fn canonical(text: &str) -> String {
    String::from_utf8(parse(text).unwrap().to_canonical()).unwrap()
}

fn error(text: &str) -> (usize, &'static str) {
    let error = parse(text).unwrap_err();
    (error.offset, error.what)
}

#[test]
fn the_examples_of_the_specification_come_out_as_it_says() {
    for (input, expected) in [
        ("{}", "{}"),
        (r#"{ "one": 1, "two": "Two" }"#, r#"{"one":1,"two":"Two"}"#),
        (r#"{ "b": "2", "a": "1" }"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{ "auth": { "success": true, "mxid": "@john.doe:example.com", "profile": { "display_name": "John Doe",
            "three_pids": [ { "medium": "email", "address": "john.doe@example.org" },
            { "medium": "msisdn", "address": "123456789" } ] } } }"#,
            r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
        ),
        (r#"{ "a": "日本語" }"#, r#"{"a":"日本語"}"#),
        (r#"{ "本": 2, "日": 1 }"#, r#"{"日":1,"本":2}"#),
        (r#"{ "a": "\u65E5" }"#, r#"{"a":"日"}"#),
        (r#"{ "a": null }"#, r#"{"a":null}"#),
        (r#"{ "a": -0, "b": 10000000000 }"#, r#"{"a":0,"b":10000000000}"#),
    ] {
        assert_eq!(canonical(input), expected);
    }
}

#[test]
fn keys_are_sorted_by_utf8_bytes_and_not_by_utf16_units() {
    // U+10000 sorts before U+FF61 in UTF-16.
    assert_eq!(canonical("{\"\u{10000}\":1,\"\u{ff61}\":2,\"\":3}"), "{\"\":3,\"\u{ff61}\":2,\"\u{10000}\":1}");
}

#[test]
fn numbers_keep_the_text_that_python_gives_them() {
    // Left the input, right what `json.dumps(json.loads(input))` printed in Python 3.11.
    for (input, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1.0", "1.0"),
        ("-0.0", "-0.0"),
        ("-0e5", "-0.0"),
        ("1e5", "100000.0"),
        ("1E+5", "100000.0"),
        ("1e15", "1000000000000000.0"),
        ("9999999999999998.0", "9999999999999998.0"),
        ("1e16", "1e+16"),
        ("12345678901234567890.0", "1.2345678901234567e+19"),
        ("1e22", "1e+22"),
        ("1.5e300", "1.5e+300"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("0.1", "0.1"),
        ("0.0001", "0.0001"),
        ("0.00009999", "9.999e-05"),
        ("1e-5", "1e-05"),
        ("-1.25e-7", "-1.25e-07"),
        ("5e-324", "5e-324"),
        ("2e-400", "0.0"),
        ("-2e-400", "-0.0"),
        ("50.50", "50.5"),
        // Halfway between two texts of the same length.
        ("569414021124059.25", "569414021124059.2"),
        ("-230554794282313.625", "-230554794282313.62"),
        // A power of two, where the nearest text of that length is that of another double.
        ("5.9604644775390625e-8", "5.960464477539063e-08"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("0.1000000000000000055511151231257827", "0.1"),
    ] {
        assert_eq!(canonical(input), expected, "{input}");
    }
    assert_eq!(parse("9223372036854775807").unwrap(), Json::Int(i64::MAX));
    assert_eq!(parse("9223372036854775808").unwrap(), Json::Number("9223372036854775808".into()));
    assert_eq!(parse("1.0").unwrap(), Json::Number("1.0".into()));
}

#[test]
fn a_number_is_made_of_the_text_of_one_number_only() {
    assert_eq!(Json::number("7"), Some(Json::Int(7)));
    assert_eq!(Json::number("7e0"), Some(Json::Number("7.0".into())));
    for text in
        ["", " 7", "7 ", "+7", "07", "7.", ".7", "7e", "7e+", "--7", "1e400", "NaN", "Infinity", "0x7", "7,", "[7]"]
    {
        assert_eq!(Json::number(text), None, "{text}");
    }
}

#[test]
fn escapes_are_the_shortest() {
    let all: String = (0..0x80).map(char::from).collect();
    let expected = concat!(
        r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f"#,
        r#"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f"#,
        r##" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"##,
        "\u{7f}\"",
    );
    assert_eq!(String::from_utf8(Json::from(all.as_str()).to_canonical()).unwrap(), expected);
    assert_eq!(parse(expected).unwrap(), Json::from(all.as_str()));
}

#[test]
fn every_escape_is_read() {
    assert_eq!(
        parse(r#""\"\\\/\b\f\n\r\t\u00e9\u00E9\ud834\udd1e!""#).unwrap(),
        "\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{e9}\u{1d11e}!".into()
    );
    for text in [r#""\x""#, r#""\u12g4""#, r#""\u+123""#, "\"\\", "\"\\u12", r#""\'""#] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_surrogate_without_its_other_half_is_refused() {
    for text in [
        r#""a\ud834""#,
        r#""a\udd1e""#,
        r#""a\ud834\ud834""#,
        r#""a\udd1e\ud834""#,
        r#""a\ud834x""#,
        r#""a\ud834\ue000""#,
        r#""a\ud834\n""#,
    ] {
        assert_eq!(error(text), (2, "lone surrogate"), "{text}");
    }
}

#[test]
fn of_equal_keys_the_last_wins() {
    for (input, expected) in [
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"b":0,"a":1,"b":{},"a":2,"c":3,"a":3}"#, r#"{"a":3,"b":{},"c":3}"#),
        (r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
    ] {
        assert_eq!(canonical(input), expected);
    }
    let many: String = (0..50).rev().map(|n| format!(r#""{}":{n},"#, n % 7)).collect();
    assert_eq!(
        canonical(&format!("{{{}}}", many.trim_end_matches(','))),
        r#"{"0":0,"1":1,"2":2,"3":3,"4":4,"5":5,"6":6}"#
    );
}

#[test]
fn what_the_grammar_does_not_allow_is_refused_where_it_stands() {
    for (text, offset) in [
        ("", 0),
        ("  ", 2),
        ("nul", 0),
        ("nulls", 4),
        ("True", 0),
        ("'a'", 0),
        ("\u{feff}{}", 0),
        ("{} {}", 3),
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1 2]", 3),
        ("[1", 2),
        ("{\"a\":1,}", 7),
        ("{\"a\" 1}", 5),
        ("{\"a\":}", 5),
        ("{a:1}", 1),
        ("{1:1}", 1),
        ("{\"a\":1 \"b\":2}", 7),
        ("{\"a\":1", 6),
        ("{", 1),
        ("01", 1),
        ("[00]", 2),
        ("-01", 2),
        ("-", 1),
        ("1.", 2),
        ("1.e1", 2),
        ("1e", 2),
        ("+1", 0),
        (".5", 0),
        ("1e309", 0),
        ("-1e309", 0),
        ("\"a", 2),
        ("\"a\nb\"", 2),
        ("\"12345678\u{1f}\"", 9),
        ("// c\n1", 0),
        ("[1\u{a0}]", 2),
    ] {
        assert_eq!(error(text).0, offset, "{text:?}: {}", error(text).1);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_where_they_stand() {
    // A lone continuation byte, an overlong slash, a surrogate, a value beyond Unicode.
    for bytes in [&b"[\"ab\x80\"]"[..], b"[\"ab\xc0\xaf\"]", b"[\"ab\xed\xa0\x80\"]", b"[\"ab\xf4\x90\x80\x80\"]"] {
        assert_eq!(Json::parse(bytes), Err(JsonError { offset: 4, what: "invalid UTF-8" }));
    }
}

#[test]
fn nesting_ends_at_the_limit_and_not_at_the_stack() {
    let nested = |depth: usize| format!("{}1{}", "[{\"a\":".repeat(depth / 2), "}]".repeat(depth / 2));
    assert!(parse(&nested(usize::from(MAX_DEPTH))).is_ok());
    assert_eq!(error(&nested(usize::from(MAX_DEPTH) + 2)).1, "nested too deeply");
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let is_read = |depth: usize| Json::parse(arrays(depth).as_bytes()).is_ok();
    let by_serde = |depth: usize| serde_json::from_str::<serde_json::Value>(&arrays(depth)).is_ok();
    assert_eq!([127, 128, 129].map(is_read), [true, true, false]);
    assert_eq!([127, 128, 129].map(by_serde), [true, false, false]);
    assert_eq!(error(&"[".repeat(1_000_000)), (usize::from(MAX_DEPTH), "nested too deeply"));
    // Closed ones do not count.
    assert!(parse(&format!("[{}1]", "[],{},".repeat(1000))).is_ok());
    assert!(Json::parse_within(nested(130).as_bytes(), 130, 200).is_ok());
    assert_eq!(Json::parse_within(b"[{},[0]]", 2, 3), Err(JsonError { offset: 5, what: "too many values" }));
}

#[test]
fn a_value_that_strict_canonical_json_forbids_is_named_by_its_path() {
    for (text, path) in [
        ("1.0", Some("")),
        ("9007199254740991", None),
        ("-9007199254740991", None),
        ("9007199254740992", Some("")),
        ("-9007199254740992", Some("")),
        ("99999999999999999999", Some("")),
        (r#"{"a":[true,null,"x",{"b":1}]}"#, None),
        (r#"{"a":[0,{"b~/c":1e2}],"b":1.5}"#, Some("/a/1/b~0~1c")),
    ] {
        let json = parse(text).unwrap();
        assert_eq!(json.strict_violation().as_deref(), path, "{text}");
        assert_eq!(json.is_strictly_canonical(), path.is_none(), "{text}");
    }
}

#[test]
fn an_object_stays_sorted_while_it_changes() {
    let mut object = Object::new();
    for key in ["m", "a", "z", "b"] {
        assert_eq!(object.insert(key, Json::from(key)), None);
    }
    assert_eq!(object.insert("a", Json::Int(1)), Some(Json::from("a")));
    assert_eq!(object.remove("m"), Some(Json::from("m")));
    assert_eq!(object.remove("m"), None);
    object.retain(|key, value| {
        *value = Json::Int(value.as_int().unwrap_or(7));
        key != "z"
    });
    assert_eq!(object.iter().collect::<Vec<_>>(), [("a", &Json::Int(1)), ("b", &Json::Int(7))]);
    *object.get_mut("b").unwrap() = Json::Array(vec![Json::Object(Object::new())]);
    assert_eq!((object.get_int("a"), object.get_int("b"), object.get_str("a")), (Some(1), None, None));
    assert_eq!(object.get_array("b").and_then(|array| array[0].as_object()).map(Object::len), Some(0));
    assert!(object.get_object("b").is_none() && object.get("c").is_none() && object.get_mut("c").is_none());
}

fn any_number() -> impl Strategy<Value = Json> {
    prop_oneof![
        any::<i64>().prop_map(Json::Int),
        any::<i128>().prop_map(|int| Json::number(&int.to_string()).unwrap()),
        any::<f64>()
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(|float| Json::number(&format!("{float:e}")).unwrap()),
        (-1e20..1e20).prop_map(|float: f64| Json::number(&format!("{float:?}")).unwrap()),
    ]
}

fn any_json(leaf: impl Strategy<Value = Json> + 'static) -> impl Strategy<Value = Json> {
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::Array),
            prop::collection::vec(("\\PC{0,3}|[\\x00-\\x7f]{0,12}", inner), 0..8).prop_map(|members| Json::Object(
                members.into_iter().map(|(key, value)| (key.into(), value)).collect()
            )),
        ]
    })
}

fn any_text() -> impl Strategy<Value = Json> {
    prop_oneof!["[\\x00-\\x7f]{0,40}", "\\PC{0,12}"].prop_map(|text| Json::from(text.as_str()))
}

fn any_leaf() -> impl Strategy<Value = Json> {
    prop_oneof![Just(Json::Null), any::<bool>().prop_map(Json::Bool), any_number(), any_text()]
}

fn plain_leaf() -> impl Strategy<Value = Json> {
    prop_oneof![Just(Json::Null), any::<bool>().prop_map(Json::Bool), any::<i64>().prop_map(Json::Int), any_text()]
}

proptest! {
    #[test]
    fn the_canonical_form_reads_back_as_the_same_value(json in any_json(any_leaf())) {
        let bytes = json.to_canonical();
        prop_assert_eq!(Json::parse(&bytes).unwrap(), json);
    }

    #[test]
    fn a_float_reads_back_to_the_bit(float in any::<f64>().prop_filter("finite", |float| float.is_finite())) {
        let Some(Json::Number(text)) = Json::number(&format!("{float:e}")).filter(|json| matches!(json, Json::Number(_))) else {
            // Without a fraction and an exponent, `{:e}` still writes an exponent.
            return Err(TestCaseError::fail("not a float"));
        };
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), float.to_bits());
        prop_assert_eq!(Json::number(&text), Some(Json::Number(text)));
    }

    #[test]
    fn serde_json_reads_the_same_value(json in any_json(plain_leaf())) {
        let value: serde_json::Value = serde_json::from_slice(&json.to_canonical()).unwrap();
        // Its maps are sorted too, and its escapes are the same.
        prop_assert_eq!(serde_json::to_vec(&value).unwrap(), json.to_canonical());
        prop_assert_eq!(Json::parse(serde_json::to_string_pretty(&value).unwrap().as_bytes()).unwrap(), json);
    }

    #[test]
    fn serde_json_accepts_what_is_accepted_and_nothing_else(text in "[\\[\\]{},:\"\\\\a-fnrtu0-9eE+\\-. ]{0,16}") {
        // A float that overflows is refused by both.
        prop_assert_eq!(Json::parse(text.as_bytes()).is_ok(), serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(json) = Json::parse(&bytes) {
            prop_assert_eq!(Json::parse(&json.to_canonical()), Ok(json));
        }
    }

    #[test]
    fn a_changed_document_never_panics(json in any_json(any_leaf()), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = json.to_canonical();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(json) = Json::parse(&bytes) {
            prop_assert_eq!(Json::parse(&json.to_canonical()), Ok(json));
        }
        prop_assert!(Json::parse(&bytes[..at]).is_err() || at > 0);
    }

    #[test]
    fn a_plain_run_ends_at_the_first_special_byte(bytes in prop::collection::vec(prop_oneof![20 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 60 => 0x20u8..], 0..40)) {
        let expected = bytes.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');
        prop_assert_eq!(write::plain_run(&bytes), expected.unwrap_or(bytes.len()));
    }
}
