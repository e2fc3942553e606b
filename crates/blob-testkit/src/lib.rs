//! Does a blob storage keep its promise? A conformance suite that any storage passes in one line.
