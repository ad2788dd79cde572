use super::*;

const PRESETS: [MaskPreset; 6] =
    [MaskPreset::Email, MaskPreset::Ipv4, MaskPreset::Ipv6, MaskPreset::Card, MaskPreset::Bearer, MaskPreset::AwsKeys];

fn preset(preset: MaskPreset) -> Mask {
    Mask { what: MaskPattern::Preset(preset), with: "***".to_owned(), fields: Vec::new() }
}

fn pattern(pattern: &str, with: &str) -> Mask {
    Mask { what: MaskPattern::Regex(Regex::new(pattern).unwrap().into()), with: with.to_owned(), fields: Vec::new() }
}

/// What masking makes of `text`, and how many masks there are in it.
fn masked(masks: &[Mask], text: &[u8]) -> (Vec<u8>, u32) {
    let (masker, arena) = (Masker::new(masks), Arena::new());
    match masker.mask(masker.of_lines(), text, &arena) {
        Some(Masked { text, count }) => (text.to_vec(), count),
        None => (text.to_vec(), 0),
    }
}

/// That what stands in `«»` is masked, and nothing else.
#[track_caller]
fn check(mask: &Mask, marked: &str) {
    let text = marked.replace(['«', '»'], "");
    let pieces: Vec<&str> = marked.split(['«', '»']).collect();
    let expected: String = pieces.iter().enumerate().map(|(index, piece)| if index % 2 == 1 { "***" } else { *piece }).collect();
    let (text, count) = masked(std::slice::from_ref(mask), text.as_bytes());
    assert_eq!((String::from_utf8(text).unwrap(), count as usize), (expected, pieces.len() / 2), "{marked}");
}

#[test]
fn addresses_of_people() {
    for text in [
        "login of «jane.doe+news@mail.example.com» failed",
        "«a@b.co»",
        "<«o_neill-2@example.museum»>, «x@y.zz»;",
        "mailto:«root@example.org».",
        "email=«bob@example.com»&next=/",
        "/signup?mail=«bob%40example.com»&x=%2Fhome",
        "..«bob@example.com»",
        "«user@xn--bcher-kva.example»",
        "«user@example.xn--p1ai» and",
        "«user@münchen.de»",
        "«user@example.com»으로 보냄",
        "«bob@example.com»-2026",
        "«bob@example.com»_old",
        "\\\"«bob@example.com»\\\"",
        "a@«b@example.com»",
        "user:«secret@db.example.com»:5432",
        r"to «alice\u0040example.com»\n«bob@example.com»\\n«carl@example.com» «a\\u0040example.com»",
        "m=«alice%2540example.com»&n=%20«bob%40example.com» %2520«bob%2540example.com»",
        r"m=«jane%2Bnews%40example.com» «jane\u002bnews@example.com»",
        "\x1b[1m«alice@example.com»\x1b[0m",
        // None:
        "root@localhost",
        "user@10.0.0.1",
        "left-pad@1.3.0",
        "react@18.0.0-rc.1",
        "@example.com",
        "a @example.com",
        "bob@",
        "bob@.com",
        "bob@-x.com",
        "bob@example..com",
        "bob@example.c",
        "bob@example.com1",
        r"\n@example.com \u0041 100%4 \u0040",
        "100%40 of 25%",
        "@Override public",
        "50% @ 3.com",
        "",
    ] {
        check(&preset(MaskPreset::Email), text);
    }
}

#[test]
fn addresses_of_hosts() {
    for text in [
        "«10.0.0.1» - - [12/Mar/2026:12:00:08 +0900]",
        "from «192.168.001.010», «255.255.255.255»:8080 to «0.0.0.0»/0.",
        "http://«10.1.2.3»/x and /«10.1.2.3»",
        "lost «10.0.0.1».",
        "range «10.0.0.1»-«10.0.0.9», «10.0.0.1»..«10.0.0.9»..., 1..«2.3.4.5»",
        "reverse «1.0.0.10».in-addr.arpa",
        "host=%22«10.0.0.1»%22%3D«10.0.0.1»",
        "cidr «10.0.0.0»/8 a/«10.0.0.1»",
        "주소«10.0.0.1»에서",
        "::ffff:«1.2.3.4»",
        "client_«10.1.2.3» «10.1.2.3»_1 v1_«10.1.2.3»",
        "\x1b[32m«10.1.2.3»\x1b[0m \x1b[0;31m«10.1.2.3»\x1b[K [32m«10.1.2.3»[0m \x1b(B«10.1.2.3» \x1b[m«10.1.2.3»",
        r"a\n«10.1.2.3»\n\t«10.1.2.3»\r\n«10.1.2.3»\\n«10.1.2.3» \\\\t«10.1.2.3»",
        r"\u0022«10.1.2.3»\u0022 \u001b[32m«10.1.2.3» \x1b[32m«10.1.2.3» \033[32m«10.1.2.3» \e[1m«10.1.2.3»",
        "#011«10.1.2.3»#012 #033[32m«10.1.2.3»#033[0m a%253D«10.1.2.3»%2526 %25«10.1.2.3»",
        r"\\«10.1.2.3»\share \«172.16.0.1» x\«100.1.1.1»",
        // None:
        "256.1.1.1 1.2.3.256 1.2.3.1000",
        "1.2.3",
        "1.2.3.4.5",
        "1.3.6.1.4.1.311",
        "v1.2.3.4",
        "1.2.3.4a",
        "[v1.2.3.4] build[v1.2.3.4",
        "Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0",
        "Chrome/120.0.6099.109",
        "2026.03.12",
        "0.25 .5 5. ... .",
    ] {
        check(&preset(MaskPreset::Ipv4), text);
    }
    for text in [
        "from «2001:db8::1» to «fe80::1%eth0.100».",
        "«fe80::1»% «fe80::2»%.. «fe80::3%12»",
        "«2001:0db8:0000:0000:0000:ff00:0042:8329»",
        "«1:2:3:4:5:6:7:8»",
        "[«::1»]:8080 [«2001:db8::1»]",
        "listen «::1», «fe80::», «::ffff:1.2.3.4» and «64:ff9b::10.0.0.1»",
        "«1:2:3:4:5:6:1.2.3.4»",
        "«2001:db8::»/32",
        "addr:«fe80::1»: unreachable",
        "peer «2001:DB8::A»: reset",
        "«2001:db8:0:0:0:0:0:1»:443",
        "IP6 «fe80::1».5353 > «ff02::fb».5353: 0",
        "http://[«fe80::1%25eth0»]/",
        "ip=%5B«::1»%5D&x=%20«fe80::1»%0A",
        "\x1b[32m«fe80::1»\x1b[0m \x1b[1A«fe80::1»",
        r"a\n«fe80::1»\n\t«2001:db8::1»\r\n«::1»\\n«fe80::1» \u0022«fe80::1»\u0022 \b«fe80::1» %253D«fe80::1»",
        // None:
        "12:34:56 12:34:56.789 2026-03-12T12:34:56+09:00",
        "aa:bb:cc:dd:ee:ff 00:1b:44:11:3a:b7",
        "00:11:22:ff:fe:33:44:55",
        "00:11:22:33:44:55:66:77:88",
        "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
        "std::string f::d() ::std::fmt a::b::c Foo::2 abc::def::x",
        "dead::beef",
        ":: ::: :::: a: :b :1",
        "[::-1] x[::]",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9:a:b",
        "12345::1",
        "fe80::1::2",
        "fe80::1x gfe80::1",
        "::1.2.3.256",
    ] {
        check(&preset(MaskPreset::Ipv6), text);
    }
}

#[test]
fn numbers_of_cards() {
    for text in [
        "paid with «4111111111111111»",
        "«4111 1111 1111 1111» 12/27",
        "«4111-1111-1111-1111»,«4222222222222»",
        "«5555555555554444» «2223003122003222» «2720994326581252»",
        "«378282246310005» «3782 822463 10005» «30569309025904» «3056 930902 5904»",
        "«6011111111111117» «3530111333300000» «6200000000000005» «6759649826438453»",
        "«4000 0000 0000 0000 006»",
        "card: «4111 1111 1111 1111» 123",
        "order 1234 «4111 1111 1111 1111»",
        "2026-03-12 «4111111111111111»",
        "{\"card\":\"«4111111111111111»\",\"n\":«4111111111111111»}",
        "«4111111111111111».",
        "-«4111111111111111»-",
        "?q=card%20«4111111111111111»%20",
        "«4111 1111 1111 1111» «4111 1111 1111 1111»",
        "«4111\t1111\t1111\t1111» «4111  1111  1111  1111» «4111\u{a0}1111\u{a0}1111\u{a0}1111»",
        r"?q=«4111+1111+1111+1111»&r=«4111%201111%201111%201111» «4111\t1111\t1111\t1111»",
        "\x1b[32m«4111111111111111»\x1b[0m \x1b[32m«4111 1111 1111 1111»\x1b[0m",
        r"a\n«4111111111111111»\n\t«4111 1111 1111 1111»\\n«4111111111111111» \u0022«4111111111111111»\u0022",
        // None:
        "4111111111111112",
        "1111111111111117 0000000000000000 9999999999999995",
        "41111111111111111111111111111111",
        "5411111111111111117",
        "4111 1111-1111 1111",
        "4111  1111 1111  1111",
        "4111   1111   1111   1111",
        "41 11 11 11 11 11 11 11",
        "41111 11111 111111",
        "a4111111111111111 4111111111111111f",
        "id_4111111111111111 4111111111111111_1",
        "0.4111111111111111 4111111111111111.5",
        "+4111111111111111",
        "1773286448123 1773286448123456 1773286448123456789",
        "2026-03-12 12:00:08 20260312120008",
        "d41d8cd9-4111-1111-1111-111111111111",
        "411111111111",
        "- - - - - - - - - - - - - -",
        "",
    ] {
        check(&preset(MaskPreset::Card), text);
    }
}

#[test]
fn tokens() {
    let web_token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27_uhbUJU1p1r";
    for text in [
        "Authorization: Bearer «secret»",
        "authorization: bearer «mF_9.B5f-4.1JqM»",
        "\"Authorization\": \"Basic «dXNlcjpwYXNz»\"",
        "{\\\"authorization\\\":\\\"Basic «dXNlcjpwYXNzPQ==»\\\"}",
        "Proxy-Authorization: Basic «x»",
        "HTTP_Authorization=Token «9944b09199c62bcf»",
        "curl -H 'Authorization: ApiKey «k-1»' https://example.com",
        "sent Bearer «mF9B5f41JqM», got 401",
        "Bearer «abcdefghijklmnopqrst».",
        "GET /me?access_token=«short»&x=1",
        "{\"access_token\": \"«short»\",\"token_type\":\"bearer\"}",
        "access_token: «mF9B5f41JqM»",
        &format!("session=«{web_token}»; path=/"),
        &format!("Bearer «{web_token}»"),
        &format!("(«{web_token}»)"),
        &format!("a%3D«{web_token}»%26"),
        "none «eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0».",
        r"Bearer «abc123\/def456\/ghi789» Bearer «abc123\u002Bdef456»\n\nBearer «abc123\\/def456»\\n",
        "access_token=«abc%2Fdef%2Bghi%3D%3D»&x=1 access_token%3D«short»%26",
        "BEARER «abc123def» Bearer\t«abc123def» Bearer%20«abc123def»%20 Bearer: «abc123def» bearer=«abcdefghijklmnopqrst»",
        "Bearer \"«abc123def»\" {\"bearer\":\"«abc123def»\"} Bearer+«abc123def»",
        r"Bearer\t«abc123def» \u0022Bearer\u0020«abc123def»\u0022",
        "AUTHORIZATION: BASIC «x» HTTP_AUTHORIZATION=\"Basic «x»\" authorization: basic\t«x»",
        "map[Authorization:[Basic «dXNlcjpwYXNz»]] Authorization%3A%20Basic%20«dXNlcjpwYXNz%3D%3D»%0A",
        "Authorization: \x1b[31mBasic «dXNlcjpwYXNz»\x1b[0m \x1b[1mBearer «abc123def»\x1b[0m",
        "ACCESS_TOKEN=«short» {\"accessToken\":\"«short»\"} access-token='«short»' access_token=Bearer «short»",
        &format!("\x1b[32m«{web_token}»\x1b[0m"),
        // None:
        "the bearer of this letter",
        "Bearer token missing",
        "WWW-Authenticate: Bearer realm=\"example\", error=\"invalid_token\"",
        "forbearer abc123def",
        "bearer: abc123",
        "authorization failed, basic usage",
        "authorization: required",
        "Authorization: Digest username=\"bob\"",
        "Authorization: Basic",
        "Basic dXNlcjpwYXNz",
        "access_token: null",
        "access_token_count 123456789",
        "token=mF9B5f41JqM",
        "eyJ eyJhbGci.x eyJhbGciOiJIUzI1NiJ9",
        "keyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0",
        "",
    ] {
        check(&preset(MaskPreset::Bearer), text);
    }
}

#[test]
fn keys_of_aws() {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let session = "IQoJb3JpZ2luX2VjEJz%2F%2F%2F/////wEaCXVzLWVhc3QtMSJHMEUCIQDx+abc";
    for text in [
        "key «AKIAIOSFODNN7EXAMPLE» is used",
        "«ASIAIOSFODNN7EXAMPLE»,«ABIAIOSFODNN7EXAMPLE»:«ACCAIOSFODNN7EXAMPLE»",
        "X-Amz-Credential=«AKIAIOSFODNN7EXAMPLE»%2F20260312%2Fus-east-1",
        "q%3D«AKIAIOSFODNN7EXAMPLE»%26",
        "Credential=«AKIAIOSFODNN7EXAMPLE»/20260312/us-east-1/kinesis/aws4_request",
        "AWS_ACCESS_KEY_ID_«AKIAIOSFODNN7EXAMPLE»",
        &format!("aws_secret_access_key = «{secret}»"),
        &format!("AWS_SECRET_ACCESS_KEY=«{secret}» x"),
        &format!("{{\"SecretAccessKey\":\"«{secret}»\",\"SessionToken\":\"«{session}==»\"}}"),
        &format!("{{\\\"SecretAccessKey\\\": \\\"«{secret}»\\\"}}"),
        &format!("<SecretAccessKey>«{secret}»</SecretAccessKey>"),
        &format!("--secret-key «{secret}»"),
        &format!("export AWS_SESSION_TOKEN='«{session}=»'"),
        &format!("/b/k?X-Amz-Security-Token=«{session}»&X-Amz-Date=20260312"),
        &format!("x-amz-security-token: «{session}»"),
        "\x1b[32m«AKIAIOSFODNN7EXAMPLE»\x1b[0m [1m«AKIAIOSFODNN7EXAMPLE»",
        r"a\n«AKIAIOSFODNN7EXAMPLE»\n\\t«AKIAIOSFODNN7EXAMPLE»\u0022«AKIAIOSFODNN7EXAMPLE»\u0022",
        &format!("AWS_SECRET_ACCESS_KEY=\x1b[31m«{secret}»\x1b[0m"),
        &format!("AWS_SECRET_ACCESS_KEY=«{secret}»\\nAWS_SESSION_TOKEN=«{session}»\\n"),
        &format!("secret_key%3D«{}»%26", secret.replace('/', "%2F").replace('+', "%2B")),
        &format!(r"\u0022SecretAccessKey\u0022:\u0022«{}»\u0022", secret.replace('/', r"\/").replace('+', r"\u002B")),
        &format!(r#"\"secretAccessKey\":\"«{}»\""#, secret.replace('/', r"\\/")),
        &format!("map[SecretAccessKey:[{{«{secret}»}}]] Secret access key: «{secret}» :secret_access_key=>\"«{secret}»\""),
        // None:
        "AIDAIOSFODNN7EXAMPLE AROAIOSFODNN7EXAMPLE",
        "AKIAIOSFODNN7EXAMPL AKIAIOSFODNN7EXAMPLES",
        "akiaiosfodnn7example AKIAIOSFODNN7EXAMPLe",
        "XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEx",
        &format!("sha {secret}"),
        &format!("aws_secret_access_key = {secret}A"),
        &format!("aws_secret_access_key = {secret}="),
        &format!("aws_secret_access_key = x {secret}"),
        "aws_secret_access_key is missing",
        &format!("secretary = {secret}"),
        "session_token = short",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "",
    ] {
        check(&preset(MaskPreset::AwsKeys), text);
    }
}

#[test]
fn patterns_and_their_masks() {
    for (regex, with, text, expected, count) in [
        (r"\d{6}-\d{7}", "***", "id 900101-1234567, 900101-1234568", "id ***, ***", 2),
        (r"\d{6}-\d{7}", "$0", "900101-1234567", "$0", 1),
        (r"\bx\b", "", "x xx x", " xx ", 2),
        (r"^.", "*", "abc", "*bc", 1),
        (r"a|aa", "b", "aaa", "bbb", 3),
        // What matches where there is nothing masks nothing.
        (r"x*", "*", "abc", "abc", 0),
    ] {
        let found = masked(&[pattern(regex, with)], text.as_bytes());
        assert_eq!((str::from_utf8(&found.0).unwrap(), found.1), (expected, count), "{regex}");
    }
    assert_eq!(masked(&[pattern(r"(?-u)\xff", "?")], b"a\xff\xfeb"), (b"a?\xfeb".to_vec(), 1));
}

#[test]
fn masks_are_used_in_their_order() {
    let email = preset(MaskPreset::Email);
    let user = pattern(r"user=\S+", "user=?");
    let stars = pattern(r"\*+", "+");
    let text = b"user=bob@example.com";
    assert_eq!(masked(&[email.clone(), user.clone()], text), (b"user=?".to_vec(), 2));
    assert_eq!(masked(&[user.clone(), email.clone()], text), (b"user=?".to_vec(), 1));
    assert_eq!(masked(&[email, stars], text), (b"user=+".to_vec(), 2));
    assert_eq!(masked(&[], text), (text.to_vec(), 0));
}

#[test]
fn masks_of_some_fields_are_for_no_others() {
    let of = |pattern_of: &str, fields: &[&str]| Mask {
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        ..pattern(pattern_of, "*")
    };
    let masker = Masker::new(&[of("a", &["x", "y"]), of("b", &[]), of("c", &["y"])]);
    let arena = Arena::new();
    let in_field = |set: &MaskSet| match masker.mask(set, b"abc", &arena) {
        Some(Masked { text, .. }) => str::from_utf8(text).unwrap(),
        None => "",
    };
    assert_eq!(in_field(masker.of_field(b"x")), "**c");
    assert_eq!(in_field(masker.of_field(b"y")), "***");
    assert_eq!(in_field(masker.of_field(b"z")), "a*c");
    assert_eq!(in_field(masker.of_lines()), "***");
    let masker = Masker::new(&[of("a", &["x"])]);
    assert!(masker.of_field(b"z").is_empty() && !masker.of_field(b"x").is_empty());
}

mod hostile;
mod properties;
