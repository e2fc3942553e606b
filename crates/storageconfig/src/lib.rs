//! What a .storageconfig file says about a blob: storage classes and put options by ID prefix.
