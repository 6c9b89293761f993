//! A PDU: format, size limits, hashes, redaction.
