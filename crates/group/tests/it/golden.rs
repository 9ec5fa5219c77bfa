//! Every record that the coordinator writes, beside the same record written by Kafka 4.3.1.

use bytes::Bytes;

use crate::script;

const SCRIPT: &str = "\
config delay=0
at 1000
commit g t-0:5@3:hello id=7
commit g t-1:6 retention=5000
offset-delete g t-0
join h instance=i
join h client=b v=3
at 1000
sync h i~1 gen=1 assign=i~1:one,b~2:two
leave h b~2 i~1/i
delete h
";

#[test]
fn records_are_kafkas() {
    let kafkas =
        include_str!("../golden/records.txt").lines().filter(|line| !line.starts_with('#'));
    let log = script::log_of(SCRIPT);
    assert_eq!(log.len(), kafkas.clone().count());
    // In the order of the script.
    let names = [
        "offset",
        "offset-expiring",
        "offset-gone",
        "group-new",
        "group",
        "group-empty",
        "group-gone",
    ];
    for (record, name) in log.iter().zip(names) {
        let line = kafkas.clone().find(|line| line.split(' ').next() == Some(name)).unwrap();
        let hex = |bytes: Option<&Bytes>| bytes.map_or_else(|| "-".to_owned(), hex);
        let ours = format!("{name} {} {}", hex(record.key.as_ref()), hex(record.value.as_ref()));
        assert_eq!(ours, line);
    }
}

fn hex(bytes: &Bytes) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
