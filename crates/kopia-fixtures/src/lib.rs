//! Real repositories and vectors made with Kopia 0.23.1, for tests.
