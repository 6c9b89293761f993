//! JSON as Matrix uses it: parsed without loss, written back in canonical form.
