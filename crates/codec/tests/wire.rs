//! Packets as they stand on the wire: every vector is decoded by both faces, judged, and encoded
//! again.

#[path = "wire/hex.rs"]
mod hex;
#[path = "wire/vectors_v3.rs"]
mod vectors_v3;
#[path = "wire/vectors_v5.rs"]
mod vectors_v5;
