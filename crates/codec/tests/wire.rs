//! Packets as they stand on the wire: every vector is decoded by both faces, judged, and encoded
//! again.

#[path = "wire/acknowledgements.rs"]
mod acknowledgements;
#[path = "wire/connect.rs"]
mod connect;
#[path = "wire/count.rs"]
mod count;
#[path = "wire/encode.rs"]
mod encode;
#[path = "wire/fixed_header.rs"]
mod fixed_header;
#[path = "wire/hex.rs"]
mod hex;
#[path = "wire/hostile.rs"]
mod hostile;
#[path = "wire/lengths.rs"]
mod lengths;
#[path = "wire/pitfalls.rs"]
mod pitfalls;
#[path = "wire/properties.rs"]
mod properties;
#[path = "wire/publish.rs"]
mod publish;
#[path = "wire/reason_codes.rs"]
mod reason_codes;
#[path = "wire/subscribe.rs"]
mod subscribe;
#[path = "wire/text.rs"]
mod text;
#[path = "wire/vectors_v3.rs"]
mod vectors_v3;
#[path = "wire/vectors_v5.rs"]
mod vectors_v5;
