//! One object out of several, without reading or writing data: how parts of a big file are put
//! together.

use kopia_format::{FormatError, ObjectId, compress::Compressor, indirect::IndirectObject};

use super::{Source, walk::pieces, writer::write_list};
use crate::{RepositoryWriter, Result};

impl RepositoryWriter {
    /// The object that holds the bytes of `parts` one after another. Each part comes with its
    /// length, which the one who wrote it knows.
    ///
    /// Of an indirect part the pieces are taken over, of a direct one the part itself, as Kopia
    /// does; a last part of no bytes stays as a piece of no bytes.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] if there are no parts; what reading lists of pieces and writing one
    /// may give.
    pub async fn concatenate(
        &self,
        parts: &[(ObjectId, u64)],
        metadata_compressor: Option<Compressor>,
    ) -> Result<ObjectId> {
        match parts {
            [] => {
                let reason = "there are no parts".into();
                Err(FormatError::Invalid { what: "concatenation", reason }.into())
            }
            [(only, _)] => Ok(*only),
            _ => {
                let source = Source::Writing(self.clone());
                let mut list = IndirectObject::default();
                for (part, length) in parts {
                    if part.indirection() > 0 {
                        list.append(&pieces(&source, part).await?);
                    } else {
                        list.push(*part, *length);
                    }
                }
                write_list(self, &list, b'x', metadata_compressor).await
            }
        }
    }
}
