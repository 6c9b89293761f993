//! Findings.

/// A value that must be there, in the one place of the crate whose panics are wanted.
pub(super) trait ExpectValue<T> {
    fn expect_value(self, finding: &str) -> T;
}

impl<T> ExpectValue<T> for Option<T> {
    #[expect(clippy::expect_used, reason = "a panic is how a fuzz target reports a finding")]
    fn expect_value(self, finding: &str) -> T {
        self.expect(finding)
    }
}
