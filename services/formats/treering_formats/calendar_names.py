"""Names of months and days in the languages that programs write times in, lower case and without a full stop.

English, German, Dutch, French, Spanish, Portuguese, Italian, Swedish, Danish, Norwegian, Finnish, Polish, Czech, Turkish, Russian.
Full names and the abbreviations of the C library's locales. A name that means two months in two languages is left out.
"""
# ruff: noqa: RUF001 - other alphabets have letters that look like Latin ones

_MONTHS = (
    "jan january januar januari janvier janv enero ene janeiro gennaio gen tammikuuta tammi stycznia sty ledna led ocak oca января янв",
    "feb february februar februari février févr febrero fevereiro fev febbraio helmikuuta helmi lutego lut února úno şubat şub февраля фев",
    "mar march märz mär mrz maart mrt mars marzo março maaliskuuta maalis marca března bře mart марта мар",
    "apr april avril avr abril abr aprile huhtikuuta huhti kwietnia kwi dubna dub nisan nis апреля апр",
    "may mai mei mayo maio mag maggio maj toukokuuta touko maja května kvě mayıs мая май",
    "jun june juni juin junio junho jun giu giugno kesäkuuta kesä czerwca cze června čvn haziran haz июня июн",
    "jul july juli juillet juil julio julho lug luglio heinäkuuta heinä lipca lip července čvc temmuz tem июля июл",
    "aug august augustus août aoû agosto ago augusti elokuuta elo sierpnia sie srpna srp ağustos ağu августа авг",
    "sep sept september septembre septiembre setembro set settembre syyskuuta syys września wrz září zář eylül eyl сентября сен сент",
    "oct october okt oktober octobre octubre outubro out ott ottobre lokakuuta loka października paź října říj ekim eki октября окт",
    "nov november novembre noviembre novembro marraskuuta marras listopadu lis kasım kas ноября ноя нояб",
    "dec december dez dezember décembre déc diciembre dic dezembro dicembre desember joulukuuta grudnia gru prosince pro aralık ara дек",
)
_DAYS = (
    "mon monday mo montag ma maandag lun lundi lunes lunedì seg mån måndag man mandag pon po pzt пн понедельник",
    "tue tues tuesday di dienstag dinsdag mar mardi martes martedì ter tis tisdag tir tirsdag ti wto út sal вт вторник",
    "wed wednesday mi mittwoch wo woensdag mer mercredi mié miércoles mercoledì qua ons onsdag ke śro st çar ср среда",
    "thu thur thurs thursday do donnerstag donderdag jeu jeudi jue jueves gio giovedì qui tor tors torsdag to czw čt per чт четверг",
    "fri friday fr freitag vr vrijdag ven vendredi vie viernes venerdì sex fre fredag pe pią pt pá cum пт пятница",
    "sat saturday sa samstag za zaterdag sam samedi sáb sábado sab sabato lör lördag lør lørdag la sob so cmt сб суббота",
    "sun sunday so sonntag zo zondag dim dimanche dom domingo domenica sön söndag søn søndag su nie ne paz вс воскресенье",
)

MONTHS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
"""Numbers of months by their names."""

DAYS = frozenset((name, number) for number, names in enumerate(_DAYS) for name in names.split())
"""Names of the days of the week, each with its number, Monday is 0. A name may be two days in two languages."""

DAY_NAMES = frozenset(name for name, _ in DAYS)
"""The names alone."""
