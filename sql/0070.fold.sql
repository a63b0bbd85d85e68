-- fold: how texts are compared in searches. Width, letter case, ligatures and composition make no difference, whatever the
-- locale of the database is, on which lower() depends: each letter is decomposed, so that ASCII's lower() serves most
-- letters; those that remain are translated as Unicode's case folding says, and the text is composed again. For Latin,
-- Greek, Cyrillic and Armenian letters it equals Python's normalize("NFKC", normalize("NFKD", text).casefold()).
create or replace function fold(text) returns text
    language plpgsql immutable parallel safe strict as $$
declare
    folded text := lower(normalize($1, NFKD) collate "C");
begin
    -- The translation is long; Japanese and English texts need none.
    if folded collate "C" ~ '[\u00C6-\u02FF\u0345\u0370-\u058F\u1E9E-\u1EFE\u2132\u2183]' then
        folded := replace(replace(replace(folded, 'ß', 'ss'), 'ẞ', 'ss'), chr(837), 'ι'); -- the iota below a letter
        folded := translate(folded,
            'ÆÐØÞĐĦŁŊŒŦƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƢƤƦƧƩƬƮƱƲƳƵƷƸƼǤǶǷȜȠȢȤȺȻȽȾɁɃɄɅɆɈɊɌɎͰͲͶͿΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧ'
            'ΨΩςϏϘϚϜϞϠϢϤϦϨϪϬϮϷϺϽϾϿЂЄЅІЈЉЊЋЏАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢ'
            'ҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӃӅӇӉӋӍӔӘӠӨӶӺӼӾԀԂԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕ'
            'ՖỺỼỾℲↃ',
            'æðøþđħłŋœŧɓƃƅɔƈɖɗƌǝəɛƒɠɣɩɨƙɯɲɵƣƥʀƨʃƭʈʊʋƴƶʒƹƽǥƕƿȝƞȣȥⱥȼƚⱦɂƀʉʌɇɉɋɍɏͱͳͷϳαβγδεζηθικλμνξοπρστυφχ'
            'ψωσϗϙϛϝϟϡϣϥϧϩϫϭϯϸϻͻͼͽђєѕіјљњћџабвгдежзиклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡң'
            'ҥҧҩҫҭүұҳҵҷҹһҽҿӏӄӆӈӊӌӎӕәӡөӷӻӽӿԁԃԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօ'
            'ֆỻỽỿⅎↄ');
    end if;
    return normalize(folded, NFKC);
end $$;

-- Texts that the locale of the database has folded.
update listings l set document = s.document from listing_sources s where s.user_id = l.user_id;
