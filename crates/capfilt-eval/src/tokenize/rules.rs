//! The rules of the tokenizer: patterns and what becomes of what they match.
//!
//! They say what the Java program does to texts, and were found by asking it: all words of up to five
//! letters with a dot, all characters of the basic plane in seven surroundings, all faces of three
//! characters, numbers of every shape, a dictionary with and without apostrophes.

/// What becomes of a match.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// Nothing: space, or punctuation that pycocoevalcap drops.
    Drop,
    /// Nothing for the first character; the rest was looked at only, and comes again.
    DropFirst,
    /// Quotation marks, one as two grave accents or apostrophes, which makes a token of several.
    Quotes,
    /// A token.
    Token,
    /// A token of which only the case changes, and spaces, which become non-breaking ones.
    Verbatim,
    /// This token, whatever was matched.
    Is(&'static str),
    /// Two tokens, the first of so many characters.
    Two(usize),
    /// A token up to where the function says; the rest was looked at only, and comes again.
    UpTo(fn(&str) -> usize),
}

/// A pattern in which `{name}` stands for a part of [`PARTS`], and what becomes of a match.
pub(super) struct Rule {
    pub(super) pattern: &'static str,
    pub(super) action: Action,
}

const fn rule(pattern: &'static str, action: Action) -> Rule {
    Rule { pattern, action }
}

/// Up to the last apostrophe.
fn before_apostrophe(matched: &str) -> usize {
    let apostrophe = matched.rfind(['\'', '’', '\u{92}']);
    apostrophe
        .or_else(|| matched.rfind("&apos;"))
        .unwrap_or(matched.len())
}

/// Up to the last `n` before an apostrophe.
fn before_not(matched: &str) -> usize {
    matched.rfind(['n', 'N']).unwrap_or(matched.len())
}

/// Up to the last character.
fn before_last(matched: &str) -> usize {
    matched.char_indices().next_back().map_or(0, |(at, _)| at)
}

/// Up to the first dot and with it.
fn with_dot(matched: &str) -> usize {
    matched.find('.').map_or(matched.len(), |at| at + 1)
}

/// Up to the first dot and without it.
fn without_dot(matched: &str) -> usize {
    matched.find('.').unwrap_or(matched.len())
}

/// Parts of patterns. A part may name those before it.
pub(super) const PARTS: &[(&str, &str)] = &[
    ("apostrophe", r"(?:['’\u{92}]|&apos;)"),
    ("any-apostrophe", r"(?:['’‘‛`\u{91}\u{92}]|&apos;)"),
    (
        "space",
        r"(?:[ \t\u{A0}\u{2000}-\u{200A}\u{3000}]|(?i:&nbsp;))",
    ),
    // Letters of the Unicode of its time, and the soft hyphen.
    ("letter", r"[[\p{L}&&\p{age=6.0}]\u{AD}]"),
    ("digit", r"\p{Nd}"),
    ("alphanumeric", r"[[\p{L}&&\p{age=6.0}]\p{Nd}\u{AD}]"),
    // Marks that may stand in a word, though not after a hyphen or a digit.
    (
        "mark",
        r"[\u{2C2}-\u{2C5}\u{2D2}-\u{2DF}\u{2E5}-\u{2EB}\u{2ED}\u{2EF}-\u{36F}\u{375}\u{384}\u{385}\u{3F6}\u{483}-\u{487}\u{55A}-\u{55F}\u{591}-\u{5BD}\u{5BF}\u{5C1}\u{5C2}\u{5C4}\u{5C5}\u{5C7}\u{615}-\u{61A}\u{64B}-\u{65E}\u{670}\u{6D6}-\u{6E4}\u{6E7}-\u{6ED}\u{6FD}\u{6FE}\u{70F}\u{711}\u{730}-\u{74C}\u{7A6}-\u{7B0}\u{7EB}-\u{7F3}\u{900}-\u{903}\u{93C}\u{93E}-\u{94E}\u{951}-\u{955}\u{962}\u{963}\u{981}-\u{983}\u{9BC}\u{9BE}-\u{9C4}\u{9C7}\u{9C8}\u{9CB}-\u{9CD}\u{9D7}\u{9E2}\u{9E3}\u{A01}-\u{A03}\u{A3C}\u{A3E}-\u{A4F}\u{A81}-\u{A83}\u{ABC}\u{ABE}-\u{ACF}\u{B82}\u{BBE}-\u{BC2}\u{BC6}-\u{BC8}\u{BCA}-\u{BCD}\u{C01}-\u{C03}\u{C3E}-\u{C56}\u{D3E}-\u{D44}\u{D46}-\u{D48}\u{E31}\u{E34}-\u{E3A}\u{E47}-\u{E4E}\u{EB1}\u{EB4}-\u{EBC}\u{EC8}-\u{ECD}]",
    ),
    (
        "in-word",
        r"(?:{letter}|{mark}|&[aeiouAEIOU](?:acute|grave|uml);)",
    ),
    (
        "word",
        r"{in-word}(?:{in-word}|{digit})*(?:[.!?]{in-word}(?:{in-word}|{digit})*)*",
    ),
    // d'art, O'Brien.
    (
        "elided",
        r"[dDoOlL]{any-apostrophe}{alphanumeric}{alphanumeric}+",
    ),
    (
        "thing",
        r"(?:{elided}|{alphanumeric}+)(?:[-_\u{58A}\u{2010}\u{2011}](?:{elided}|{alphanumeric}+))*",
    ),
    (
        "number",
        r"(?:{digit}+|{digit}*(?:[.:,\u{AD}\u{66B}\u{66C}]{digit}+)+)",
    ),
    ("part", r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"),
    ("in-path", r#"[^ \t\n"<>|()]"#),
    ("eye", r"[-'<=>^x~]"),
    ("ends-path", r#"[^ \t\n"<>|.!?(){},-]"#),
    // Abbreviations that may end a sentence, and those that do not.
    (
        "end",
        r"(?i:al|ala|apr|ariz|assn|aug|bhd|bldg|blvd|bros|calif|co|colo|conn|corp|cos|ct|dak|dec|ed\.d|esq|est|etc|ext|feb|fla|fri|ga|inc|ind|intl|jan|jr|jul|jun|kan|kans|ky|ltd|mar|md|mich|minn|mo|mon|mont|neb|nev|nov|oct|okla|penn|ph\.d|plc|rd|rt|sep|sept|seq|sq|sr|sys|tel|tenn|thu|thurs|tue|tues|univ|va|vt|wed|wis|wisc|wyo)|[Pp](?:pte|pty|te|ty)|A(?:rk|RK|z|Z)|D(?:el|EL)|I(?:ll|LL)|L[aA]|M(?:ass|ASS|iss|ISS)|O(?:re|RE)|P[aA]|T(?:ex|EX)|W(?:ash|ASH)",
    ),
    (
        "title",
        r"(?i:adj|adm|adv|alex|assoc|asst|atty|attys|ave|brig|capt|cf|cie|cmdr|col|comdr|cpl|dept|det|dr|drs|elec|ens|ft|gen|gov|govs|hon|insp|invt|jos|lieut|lt|maj|messrs|mlle|mme|mr|mrs|ms|msgr|mt|natl|pfc|ph|pres|prof|profs|pvt|rep|reps|rev|sen|sens|sfc|sgt|spc|st|ste|supt|supts|treas|vs|wm)|[Mm](?:fg|tg)|[Pp](?:pte|pty|te|ty)s",
    ),
    (
        "starter",
        r"A(?i:bout|ccording|dditionally|fter|n|s|t)?|B(?i:ut)|E(?i:arlier)|H(?i:ere?|er|owever|e)|I(?i:[fnt])|L(?i:ast)|M(?i:any|ore)|N(?i:ow)|O(?i:nce|ne|ther|ur)|S(?i:he|ince|ome|o|uch)|T(?i:hat|heir|hen|here|hese|hey|he|his)|W(?i:e|hat|hen|hile)|Y(?i:et|ou)",
    ),
];

/// The rules. The longest match wins, and of several as long the first. What no rule matches is
/// dropped, a character at a time.
pub(super) const RULES: &[Rule] = &[
    // Markup and entities.
    rule(
        r#"</?[A-Za-z][A-Za-z0-9_:.-]*(?:[ \t]+[A-Za-z][A-Za-z0-9_:.-]*(?:[ \t]*=[ \t]*(?:"[^"\n]*"|'[^'\n]*'))?)*[ \t]*/?>|<[!?][A-Za-z-][^>\n]*>"#,
        Action::Verbatim,
    ),
    rule(r"(?i:&amp;)", Action::Is("&")),
    rule(r"(?i:&lt;)", Action::Is("<")),
    rule(r"(?i:&gt;)", Action::Is(">")),
    rule(r"&quot;|&apos;|(?i:&[mn]dash;)|{space}", Action::Drop),
    rule(r"(?i:&quot;|&apos;)", Action::Token),
    rule(r"&#[0-9]+;", Action::Token),
    // Contractions.
    rule(r"(?i:cannot|gonna|gotta|lemme|gimme|wanna)", Action::Two(3)),
    rule(r"(?i:'tis|'twas)", Action::Two(2)),
    rule(
        r"(?:{word}|{thing}){apostrophe}(?i:[dms]|ll|re|ve)",
        Action::UpTo(before_apostrophe),
    ),
    rule(
        r"{apostrophe}(?i:[dms]|ll|re|ve)[^A-Za-z]",
        Action::UpTo(before_last),
    ),
    rule(
        r"[A-Za-z]*[A-MO-Za-mo-z](?i:n){any-apostrophe}(?i:t)",
        Action::UpTo(before_not),
    ),
    rule(r"(?i:n){any-apostrophe}(?i:t)", Action::Token),
    // Apostrophes that belong to a word.
    rule(
        r"{apostrophe}(?i:n{apostrophe}|em|till?|cause|[2-9]0s)|[dDjJlL]{apostrophe}|[oO]{any-apostrophe}[oO]|(?i:e'er|c'mon|li'l|cap{apostrophe}n)|(?:Dunkin|[sS]omethin|[oO]l|OL){apostrophe}",
        Action::Token,
    ),
    rule(
        r"{apostrophe}{digit}{digit}[ \t\n\u{A0}]",
        Action::UpTo(before_last),
    ),
    // A quote before a word, and what it is where there is none.
    rule(r"'[A-Za-z0-9][^ \t\n\u{A0}]", Action::DropFirst),
    rule(r"{apostrophe}(?i:[dmsn]|ll|re|ve)", Action::Token),
    rule(r"[yY]{apostrophe}{letter}", Action::UpTo(before_last)),
    rule(
        r"[A-HJ-XZn]{any-apostrophe}{letter}{letter}+",
        Action::Token,
    ),
    rule(
        r"{letter}+[aeiouyAEIOUY]{any-apostrophe}[aeiouA-Z]{letter}*",
        Action::Token,
    ),
    // Words, names, numbers.
    rule(r"(?:{end})\.[^\n]", Action::UpTo(before_last)),
    rule(r"{word}|{thing}|[-+]?{number}", Action::Token),
    rule(r"(?:{word}|{thing})\.[,;:]", Action::UpTo(before_last)),
    rule(
        r"[A-Za-z0-9][A-Za-z0-9.,\u{AD}]*(?:-[A-Za-z0-9\u{AD}]+)+",
        Action::Token,
    ),
    rule(r"{part}(?:\\?/{part}){1,2}", Action::Token),
    rule(r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+", Action::Token),
    rule(r"[cC]\+\+|[cCfF]#", Action::Token),
    rule(
        r"(?:{digit}{1,4}[- \u{A0}])?{digit}{1,4}(?:\\?/|\u{2044}){digit}{1,4}|{digit}{1,2}/{digit}{1,2}-{digit}{2,4}",
        Action::Token,
    ),
    rule(
        r"(?:\([0-9]{2,3}\)[ \u{A0}]?|\+{0,2}(?:[0-9]{2,4}[- \u{A0}]){1,2})[0-9]{3,4}[- \u{A0}]?[0-9]{3,5}",
        Action::Token,
    ),
    // Dots that belong to a word.
    rule(
        r"(?:{end}|{title}|[A-Za-z](?:\.[A-Za-z])*)\.",
        Action::Token,
    ),
    rule(
        r"[A-Za-z]\.(?:\n|{space})+{starter}[ \t\n]",
        Action::UpTo(without_dot),
    ),
    rule(
        r"(?i:art|ca|figs?|nos?|op|pp|prop)\.{space}?{digit}",
        Action::UpTo(with_dot),
    ),
    rule(
        r"(?i:{alphanumeric}+(?:\.{alphanumeric}+)*\.(?:bat|bmp|c|class|cgi|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql|tar|txt|wav|x|xml|zip))[ \t\n.,!?]",
        Action::UpTo(before_last),
    ),
    // Addresses.
    rule(r#"https?://[^ \t\n"<>|(){}]+{ends-path}"#, Action::Verbatim),
    rule(
        r#"(?:www\.(?:[^ \t\n"(),.<>{|}]+\.)+[a-zA-Z]{2,4}|(?:[a-z#%&*+@~\u{7F}-\u{10FFFF}]+\.)+(?:com|edu|net|org))(?:/{in-path}+{ends-path})?"#,
        Action::Verbatim,
    ),
    rule(
        r#"<?[a-zA-Z0-9][^ \t\n"<>|()\u{A0}{}]*@(?:[^ \t\n"<>|(){}\u{A0}.]+\.)*[^ \t\n"<>|(){}\u{A0}.]+>?"#,
        Action::Verbatim,
    ),
    rule(r"@[A-Za-z_][A-Za-z0-9_]*|#{letter}+", Action::Verbatim),
    // Faces.
    rule(
        r"[<>]?[:;=][-'*o]?[()@DOP\[\\\]dp{|][^A-Za-z0-9]",
        Action::UpTo(before_last),
    ),
    rule(
        r"{eye}_{eye}|\({eye}[._]?{eye}\)|\(['<=>^x~]-['<=>^`x~]\)",
        Action::Token,
    ),
    // Currencies and fractions that are written out.
    rule(r"[A-Z]*\$", Action::Token),
    rule(r"[€¤\u{20A0}\u{80}]", Action::Is("$")),
    rule("£", Action::Is("#")),
    rule("¢", Action::Is("cents")),
    rule("¼", Action::Is("1/4")),
    rule("½", Action::Is("1/2")),
    rule("¾", Action::Is("3/4")),
    rule("⅓", Action::Is("1/3")),
    rule("⅔", Action::Is("2/3")),
    // Punctuation that counts.
    rule(r"[(]", Action::Is("-lrb-")),
    rule(r"[)]", Action::Is("-rrb-")),
    rule(r"\[", Action::Is("-lsb-")),
    rule(r"\]", Action::Is("-rsb-")),
    rule(r"[{]", Action::Is("-lcb-")),
    rule(r"[}]", Action::Is("-rcb-")),
    rule(r"[!?]{2,}|-{5,}|\\\*|\*+|_+|@+|#+|<<|>>", Action::Token),
    rule(r"[\u{91}-\u{94}‘’‚‛“”„‟‹›«»]{1,2}", Action::Quotes),
    rule(
        r"[²³¹\u{2070}\u{2074}-\u{2079}\u{2080}-\u{2089}]+",
        Action::Token,
    ),
    rule(
        r"[%&+/<=>\\\^|~¡¥-©¬®-±´¶-¸¿×÷\u{37E}\u{387}\u{589}\u{5BE}\u{5C0}\u{5C3}\u{5C6}\u{5F3}\u{5F4}\u{600}-\u{603}\u{606}-\u{60C}\u{614}\u{61B}\u{61E}\u{61F}\u{66A}\u{66D}\u{6D4}\u{700}-\u{70D}\u{7F6}-\u{7F8}\u{964}\u{965}\u{E3F}\u{E4F}\u{1FBD}\u{2016}\u{2017}\u{2020}-\u{2023}\u{2030}-\u{2038}\u{203B}\u{203E}-\u{2042}\u{2044}\u{207A}-\u{207E}\u{208A}-\u{208E}\u{20A4}\u{2100}\u{2101}\u{2103}-\u{2106}\u{2108}\u{2109}\u{2114}\u{2116}-\u{2118}\u{211E}-\u{2123}\u{2125}\u{2127}\u{2129}\u{212E}\u{213A}\u{213B}\u{2140}-\u{2144}\u{214A}-\u{214D}\u{214F}\u{2155}-\u{215E}\u{2190}-\u{2BFF}\u{3001}\u{3002}\u{3012}\u{30FB}\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF20}\u{FF3B}-\u{FF40}\u{FF5B}-\u{FF65}\u{FFE0}\u{FFE1}\u{FFE5}\u{FFE6}]",
        Action::Token,
    ),
    // Punctuation that does not count, where it ends matters.
    rule(r"''|-{2,4}|\.{3,4}|\. \. \.|``", Action::Drop),
];
