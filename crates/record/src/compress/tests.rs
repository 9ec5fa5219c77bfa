//! Codecs: what goes in comes out, bombs and lies do not.

use super::*;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn sample(len: usize) -> Vec<u8> {
    // A mix of runs and noise, longer than every codec's block.
    let mut state = 1_u32;
    (0..len)
        .map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if at % 1000 < 500 { b'x' } else { state.to_be_bytes()[0] }
        })
        .collect()
}

#[test]
fn every_codec_comes_back() {
    for codec in CODECS {
        for len in [0, 1, 100, 70_000, 300_000] {
            let input = sample(len);
            let packed = Bytes::from(compress(codec.into(), &input).unwrap());
            let back = decompress(codec, &packed, &DecompressLimits::default()).unwrap();
            assert_eq!(back, input, "{} of {len} bytes", codec.name());
        }
    }
}

#[test]
fn bombs_are_refused() {
    let limits = DecompressLimits { output_max: 1 << 20, ratio_free: 4096, ratio_max: 100 };
    let zeros = vec![0; 2 << 20];
    for codec in CODECS {
        let packed = Bytes::from(compress(codec.into(), &zeros).unwrap());
        let limit = limits.output_for(packed.len());
        let got = decompress(codec, &packed, &limits);
        assert_eq!(got, Err(BatchError::TooLarge { limit }), "{}", codec.name());
    }
}

#[test]
fn damaged_data_is_named() {
    for codec in CODECS.into_iter().skip(1) {
        let mut packed = compress(codec.into(), &sample(100_000)).unwrap();
        packed.truncate(packed.len() - 20);
        let got = decompress(codec, &Bytes::from(packed), &DecompressLimits::default());
        let Err(BatchError::Decompress { codec: name, .. }) = got else {
            panic!("{}: {got:?}", codec.name());
        };
        assert_eq!(name, codec.name());
    }
}

#[test]
fn snappy_reads_what_clients_send() {
    let text = b"hello hello hello hello";
    let bare = snap::raw::Encoder::new().compress_vec(text).unwrap();
    let limits = DecompressLimits::default();
    let read =
        |bytes: &[u8]| decompress(Compression::Snappy, &Bytes::copy_from_slice(bytes), &limits);
    assert_eq!(read(&bare).unwrap(), &text[..]);
    // Two framed streams, one after the other.
    let framed = compress(Compression::Snappy.into(), text).unwrap();
    let twice = [framed.as_slice(), framed.as_slice()].concat();
    assert_eq!(read(&twice).unwrap(), [&text[..], &text[..]].concat());
    // CVE-2023-34455: a block length of 0xffffffff.
    let mut lie = framed.clone();
    lie[16..20].fill(0xff);
    assert!(matches!(read(&lie), Err(BatchError::Decompress { .. })));
    // A block that claims 15 MiB in five bytes.
    let claim = [0x80, 0x80, 0xc0, 0x07, 0x00];
    assert!(matches!(read(&claim), Err(BatchError::Decompress { .. })));
}

#[test]
fn lz4_is_written_as_java_reads_it() {
    let packed = compress(Compression::Lz4.into(), &sample(1000)).unwrap();
    // Magic, version 1 with independent blocks and no checksums or size, block size 64 KiB, and
    // the checksum byte that goes with those flags.
    assert_eq!(packed[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    let mut linked = packed;
    linked[4] = 0x40;
    let got = decompress(Compression::Lz4, &Bytes::from(linked), &DecompressLimits::default());
    assert!(matches!(got, Err(BatchError::Decompress { codec: "lz4", .. })));
}

#[test]
fn levels_outside_the_codec_are_refused() {
    for (codec, level) in [(Compression::Gzip, 10), (Compression::Gzip, 0), (Compression::Zstd, 99)]
    {
        let settings = CompressionSettings { codec, level: Some(level) };
        assert!(matches!(compress(settings, b"x"), Err(BuildError::Compress { .. })));
    }
}
