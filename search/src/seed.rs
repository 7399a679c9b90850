//! Where randomness comes from: every generator and every seed is derived from the run's seed and a trial number.
//!
//! Deriving per trial, instead of drawing from one long stream, is what makes the state of a search depend on its
//! results alone: trial 17 draws the same numbers whether or not trials 3 to 9 were proposed by this process.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Seeds stay below 2^53, because a JSON reader with doubles for numbers would change a larger one.
const SEED_BITS: u32 = 53;

/// The seed of a run that did not choose one.
pub fn seed_from_run_id(run_id: &str) -> u64 {
    let digest = digest("run", &[run_id.as_bytes()]);
    first_u64(&digest) >> (u64::BITS - SEED_BITS)
}

/// The seed a trainer gets for trial `number`; 32 bits, because numpy takes no more.
pub fn trial_seed(run_seed: u64, number: u64) -> u32 {
    let digest = digest("trial", &[&run_seed.to_be_bytes(), &number.to_be_bytes()]);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// The generator with which a strategy chooses the candidate of trial `number`.
pub(crate) fn candidate_rng(run_seed: u64, number: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(digest("candidate", &[&run_seed.to_be_bytes(), &number.to_be_bytes()]))
}

/// `purpose` keeps the three derivations apart: equal inputs, unrelated outputs.
fn digest(purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn first_u64(digest: &[u8; 32]) -> u64 {
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}
