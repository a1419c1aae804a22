//! What a store gives back is read without a panic, whatever it is, and what is read is written the
//! same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqttstack_session::{
    SessionState,
    journal::{Epoch, SessionRecord, StoreImage, StoreOperation},
    limits::{Instant, Limits},
};

fuzz_target!(|bytes: &[u8]| {
    let epoch = Epoch::default();
    if let Ok(state) = SessionState::decode(bytes, epoch) {
        let mut written = Vec::new();
        state.encode(epoch, &mut written);
        assert_eq!(SessionState::decode(&written, epoch), Ok(state));
    }
    if let Ok(record) = SessionRecord::decode(bytes, epoch) {
        let mut written = Vec::new();
        record.encode(epoch, &mut written);
        assert_eq!(SessionRecord::decode(&written, epoch), Ok(record));
    }
    let mut image = StoreImage::new();
    let mut rest = bytes;
    while let Ok(Some(operation)) = StoreOperation::decode(&mut rest, epoch) {
        let mut written = Vec::new();
        operation.encode(epoch, &mut written);
        let read = StoreOperation::decode(&mut written.as_slice(), epoch);
        assert_eq!(read, Ok(Some(operation.clone())));
        let _ = image.apply(operation);
    }
    let recovered = image.recover(&Limits::default(), Instant::EPOCH);
    assert_eq!(image.recover(&Limits::default(), Instant::EPOCH), recovered);
});
