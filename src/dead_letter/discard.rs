//! Removing letters for good.

use tokio_util::sync::CancellationToken;

use super::{Store, StoreError, Walk};

/// Removes `most` of the letters of `walk` at the most, which goes through `store`; until `stop`. `told` hears of each how
/// many were removed so far, and where the walk is.
///
/// # Errors
/// A letter can't be read, or removed: those before it are gone.
pub async fn discard(
    store: &Store,
    walk: &mut Walk,
    most: u64,
    stop: &CancellationToken,
    told: impl Fn(u64, &Walk),
) -> Result<(), StoreError> {
    let mut removed = 0;
    while removed < most {
        let letter = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            letter = walk.next(store) => letter?,
        };
        let Some(letter) = letter else { break };
        store.remove(letter.sequence).await?;
        removed += 1;
        told(removed, walk);
    }
    told(removed, walk);
    Ok(())
}
