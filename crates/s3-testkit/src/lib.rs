//! An S3 server for tests: real protocol, storage classes, a clock to move, faults to order.
