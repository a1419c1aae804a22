use super::*;

/// A number as it stands in a file of an order.
fn four(order: Order, number: u32) -> [u8; 4] {
    match order {
        Order::Little => number.to_le_bytes(),
        Order::Big => number.to_be_bytes(),
    }
}

fn two(order: Order, number: u16) -> [u8; 2] {
    match order {
        Order::Little => number.to_le_bytes(),
        Order::Big => number.to_be_bytes(),
    }
}

fn pcap(order: Order, magic: u32, link: u32, records: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(four(order, magic));
    file.extend([two(order, 2), two(order, 4)].concat());
    file.extend(
        [0, 0, 65_535, link]
            .map(|number| four(order, number))
            .concat(),
    );
    for (seconds, fraction, bytes) in records {
        let length = u32::try_from(bytes.len()).unwrap();
        let header = [*seconds, *fraction, length, length];
        file.extend(header.map(|number| four(order, number)).concat());
        file.extend(*bytes);
    }
    file
}

fn block(order: Order, block_type: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let size = four(order, u32::try_from(body.len() + 12).unwrap());
    [&four(order, block_type)[..], &size, &body, &size].concat()
}

fn section(order: Order) -> Vec<u8> {
    let magic = four(order, 0x1A2B_3C4D);
    block(
        order,
        SECTION_HEADER,
        &[&magic[..], &[1, 0, 0, 0], &[0xFF; 8]].concat(),
    )
}

fn interface(order: Order, link: u16, resolution: Option<u8>) -> Vec<u8> {
    let mut body = [two(order, link), [0, 0], [0, 0], [0, 0]].concat();
    // An option that is of no interest: a name of three bytes, and a byte of padding.
    body.extend([two(order, 2), two(order, 3)].concat());
    body.extend(b"eth\0");
    if let Some(resolution) = resolution {
        body.extend([two(order, IF_TSRESOL), two(order, 1)].concat());
        body.extend([resolution, 0, 0, 0]);
    }
    body.extend([0; 4]);
    block(order, INTERFACE_DESCRIPTION, &body)
}

fn packet(order: Order, interface: u32, ticks: u64, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    let [high, low] = [ticks >> 32, ticks & 0xFFFF_FFFF].map(|half| u32::try_from(half).unwrap());
    let header = [interface, high, low, length, length].map(|number| four(order, number));
    block(
        order,
        ENHANCED_PACKET,
        &[header.as_flattened(), bytes].concat(),
    )
}

type Found = (u32, Option<String>, Vec<u8>);

fn read(file: &[u8]) -> Result<Vec<Found>, CaptureError> {
    let mut frames = Frames::new(BufReader::new(file))?;
    let mut found = Vec::new();
    while let Some(frame) = frames.next()? {
        let time = frame.time.map(|time| time.to_string());
        found.push((frame.link, time, frame.bytes.to_vec()));
    }
    Ok(found)
}

fn found(link: u32, time: &str, bytes: &[u8]) -> Found {
    (link, Some(time.to_owned()), bytes.to_vec())
}

#[test]
fn pcap_files_of_both_orders_and_resolutions_are_read() {
    for order in [Order::Little, Order::Big] {
        let records: [(u32, u32, &[u8]); 2] = [(1, 500_000, b"ab"), (1_700_000_000, 1, b"")];
        let file = pcap(order, 0xA1B2_C3D4, 1, &records);
        let expected = [
            found(1, "1970-01-01T00:00:01.5Z", b"ab"),
            found(1, "2023-11-14T22:13:20.000001Z", b""),
        ];
        assert_eq!(read(&file).unwrap(), expected);
        let file = pcap(order, 0xA1B2_3C4D, 0xF000_0071, &records);
        let expected = [
            found(113, "1970-01-01T00:00:01.0005Z", b"ab"),
            found(113, "2023-11-14T22:13:20.000000001Z", b""),
        ];
        assert_eq!(read(&file).unwrap(), expected);
    }
}

#[test]
fn pcapng_files_of_both_orders_are_read() {
    for order in [Order::Little, Order::Big] {
        let simple = block(
            order,
            SIMPLE_PACKET,
            &[&four(order, 3)[..], b"abc"].concat(),
        );
        let file = [
            section(order),
            interface(order, 1, None),
            interface(order, 101, Some(9)),
            interface(order, 113, Some(0x81)),
            packet(order, 0, 1_500_000, b"a"),
            packet(order, 1, 1_500_000_000, b"b"),
            packet(order, 2, 3, b"c"),
            packet(order, 7, 3, b"no such interface"),
            block(order, 0x0BAD, b"a block of an unknown type"),
            simple,
        ]
        .concat();
        let half = "1970-01-01T00:00:01.5Z";
        let expected = [
            found(1, half, b"a"),
            found(101, half, b"b"),
            found(113, half, b"c"),
            (u32::MAX, None, b"no such interface".to_vec()),
            (1, None, b"abc".to_vec()),
        ];
        assert_eq!(read(&file).unwrap(), expected);
    }
}

#[test]
fn a_new_section_may_have_another_order_and_other_interfaces() {
    let file = [
        section(Order::Little),
        interface(Order::Little, 1, None),
        section(Order::Big),
        interface(Order::Big, 101, None),
        packet(Order::Big, 0, 0, b"a"),
    ]
    .concat();
    let expected = [found(101, "1970-01-01T00:00:00Z", b"a")];
    assert_eq!(read(&file).unwrap(), expected);
}

#[test]
fn a_file_may_end_anywhere() {
    let pcap = pcap(Order::Little, 0xA1B2_C3D4, 1, &[(1, 2, b"abcd")]);
    let pcapng = [
        section(Order::Big),
        interface(Order::Big, 1, Some(6)),
        packet(Order::Big, 0, 1, b"abcd"),
    ]
    .concat();
    let boundaries = |whole: &[usize], cut| whole.contains(&cut);
    let interface_at = section(Order::Big).len();
    let packet_at = interface_at + interface(Order::Big, 1, Some(6)).len();
    for (file, whole) in [(pcap, vec![24]), (pcapng, vec![interface_at, packet_at])] {
        assert_eq!(read(&file).unwrap().len(), 1);
        for cut in 0..file.len() {
            match read(&file[..cut]) {
                Ok(frames) => assert!(boundaries(&whole, cut) && frames.is_empty(), "{cut}"),
                Err(CaptureError::UnknownMagic) => assert!(cut < 4, "{cut}"),
                Err(error) => assert!(matches!(error, CaptureError::CutShort), "{cut}: {error}"),
            }
        }
    }
}

#[test]
fn what_a_file_claims_is_not_believed() {
    let order = Order::Little;
    let record = |length: u32| {
        let mut file = pcap(order, 0xA1B2_C3D4, 1, &[]);
        file.extend(
            [1, 1, length, length]
                .map(|number| four(order, number))
                .concat(),
        );
        read(&file).unwrap_err().to_string()
    };
    assert_eq!(
        record(u32::MAX),
        "frame or block of 4294967295 bytes exceeds the limit of 16777216"
    );
    assert_eq!(record(16_777_216), "ends in the middle of a frame");

    let block_of = |block_type: u32, size: u32| {
        let header = [block_type, size]
            .map(|number| four(order, number))
            .concat();
        let file = [section(order), header, vec![0; 64]].concat();
        read(&file).unwrap_err().to_string()
    };
    for (block_type, size) in [
        (6, 0),
        (6, 8),
        (6, 12),
        (6, 28),
        (6, 33),
        (1, 16),
        (3, 12),
        (99, 11),
    ] {
        let expected = format!("block of type 0x{block_type:08X} cannot have {size} bytes");
        assert_eq!(block_of(block_type, size), expected);
    }
    assert_eq!(block_of(99, u32::MAX - 3), "ends in the middle of a frame");

    // A frame that claims to be longer than its block ends with the block.
    let header = [0, 0, 0, 1_000, 1_000].map(|number| four(order, number));
    let body = [header.as_flattened(), b"abcd"].concat();
    let file = [
        section(order),
        interface(order, 1, None),
        block(order, ENHANCED_PACKET, &body),
    ];
    assert_eq!(read(&file.concat()).unwrap()[0].2, b"abcd");

    let many = interface(order, 1, None).repeat(INTERFACES_MAX + 1);
    let error = read(&[section(order), many].concat()).unwrap_err();
    assert!(matches!(error, CaptureError::TooManyInterfaces), "{error}");

    assert!(matches!(
        read(b"GET / HTTP/1.1"),
        Err(CaptureError::UnknownMagic)
    ));
}

#[test]
fn resolutions_are_powers_of_ten_or_two() {
    for (byte, ticks) in [
        (0, Some(1)),
        (6, Some(1_000_000)),
        (19, Some(10_000_000_000_000_000_000)),
        (20, None),
        (0x80, Some(1)),
        (0xBF, Some(1 << 63)),
        (0xC0, None),
        (0xFF, None),
    ] {
        assert_eq!(resolution(byte), ticks, "{byte:#X}");
    }
    assert_eq!(time(u64::MAX, 1), None);
    assert!(time(u64::MAX, 10_000_000_000_000_000_000).is_some());
}
