//! Objects of one content each, written together.
//!
//! What is no longer than the splitter's shortest piece is never cut, so its object is its content;
//! many of them cost one job on one core (docs/format/05 §2).

use bytes::Bytes;
use kopia_format::ObjectId;

use super::writer::{ObjectOptions, compresses_contents, splitter};
use crate::{RepositoryWriter, Result, contents::write::NewContent};

impl RepositoryWriter {
    /// Writes objects that are in memory, and gives their IDs in order. They are the same as one by
    /// one; small ones are written together.
    ///
    /// # Errors
    /// What writing contents may give; then none of them is to be relied on.
    pub async fn write_objects(
        &self,
        objects: Vec<(Bytes, ObjectOptions)>,
    ) -> Result<Vec<ObjectId>> {
        let mut ids = vec![None; objects.len()];
        let (mut together, mut numbers) = (Vec::new(), Vec::new());
        for (number, (bytes, options)) in objects.into_iter().enumerate() {
            if self.is_one_content(&bytes, &options)? {
                let ObjectOptions { prefix, compressor, .. } = options;
                together.push(NewContent { bytes, prefix, compressor });
                numbers.push(number);
            } else {
                ids[number] = Some(self.write_object(bytes, options).await?);
            }
        }
        if !together.is_empty() {
            let contents = self.put_contents(together).await?;
            for (number, id) in numbers.into_iter().zip(contents) {
                ids[number] = Some(ObjectId::direct(id));
            }
        }
        Ok(ids.into_iter().map(|id| id.expect("each one was written")).collect())
    }

    /// Is the object one content that is hashed as it is?
    pub(crate) fn is_one_content(&self, bytes: &Bytes, options: &ObjectOptions) -> Result<bool> {
        let compresses_object =
            options.compressor.is_some() && options.prefix.is_none() && !compresses_contents(self);
        let uncut = splitter(self, options.splitter.as_deref())?.min_segment();
        Ok(!compresses_object && bytes.len() <= uncut)
    }
}
