"""Words of the grammar of amounts: numbers, packs, and the signs that an amount is something else than content.

Every word is as `tokens` leaves it: in lower case, accents kept.
"""

NUMBER_WORDS: dict[str, float] = {
    word: number
    for number, words in (
        (0.5, "half halbes demi media mezza"),
        (1.0, "one"),
        (2.0, "two twin double zwei deux dos due"),
        (3.0, "three triple drei trois tres tre"),
        (4.0, "four vier quatre cuatro quattro"),
        (5.0, "five fünf cinq cinco cinque"),
        (6.0, "six sechs seis sei"),
        (7.0, "seven"),
        (8.0, "eight acht"),
        (9.0, "nine"),
        (10.0, "ten zehn dix diez dieci"),
        (11.0, "eleven"),
        (12.0, "twelve zwölf douze doce"),
        (20.0, "twenty"),
    )
    for word in words.split()
}
DOZENS = frozenset(("dozen", "dutzend", "douzaine", "docena", "dúzia", "dozzina", "dozijn", "tuzin"))
PACK_WORDS = {
    "sixpack": 6, "sixpacks": 6, "twinpack": 2, "twinpacks": 2, "doppelpack": 2, "duopack": 2, "dreierpack": 3,
    "viererpack": 4, "sechserpack": 6, "zehnerpack": 10, "zwölferpack": 12,
}  # fmt: skip
TIMES = frozenset("x×*х✕✖")  # the third is Cyrillic
DASHES = frozenset("-–—‐‑~～至")
TO = frozenset(("to", "bis", "through"))

PACK_ONLY_WORDS = frozenset(("twin", "double", "triple"))  # "triple pack", never "double roll"

# "6 packs", "6-pk": a noun behind a number.
PACK_AFTER = frozenset(
    "pack packs pk pks pck pcks pak paks packung paquet paquets paquete paquetes pacote pacotes confezione confezioni "
    "pacco pacchi verpakking upakowka opakowanie opakowania opakowań pakket paket pakete pakker".split()
) | {"er", "件 装", "瓶 装", "包 装", "盒 装", "袋 装", "罐 装", "支 装", "个 装", "只 装", "入 り", "個 セ ッ ト"}
PACKS = frozenset("packs pks pcks paks packungen paquets paquetes pacotes confezioni pacchi".split())  # of PACK_AFTER
# "pack of 6", "lot de 6", "Packung mit 10": a noun and a connector before a number.
PACK_NOUNS = frozenset(
    "pack packs pk pks pck pkg package packages case cases set sets bundle bundles lot lots multipack "
    "packung packungen kiste kisten gebinde "
    "paquet paquets colis ensemble jeu coffret étui étuis "
    "paquete paquetes lote lotes juego estuche "
    "pacote pacotes kit kits conjunto embalagem "
    "confezione confezioni pacco pacchi "
    "verpakking pak zestaw opakowanie набор упаковка комплект".split()
)
BOX_NOUNS = frozenset(
    "box boxes boxs carton cartons tray trays karton kartons boîte boîtes caja cajas caixa caixas scatola scatole "
    "cartone doos dozen pudełko karton коробка".split()
)
CASES = frozenset("case cases cs ca ctn carton cartons pallet karton kartons kiste kisten caisse".split())
CONNECTORS = frozenset("of de da di mit von van à a com con z c из по en".split())
QUANTITY_NOUNS = frozenset(
    "qty quantity menge anzahl stückzahl quantité quantite cantidad quantidade quantità aantal ilość количество".split()
)
PER = frozenset(("per", "/", "pro", "par", "por", "je"))
CONTAINERS = frozenset(  # "6 per case", "6/cs": how many of them are sold together
    "case cases cs ca carton ctn box bx pack pk karton caisse caja caixa pallet bag".split()
)
EACH = frozenset("each ea apiece chacun chacune ciascuno ciascuna jeweils each. 每".split())
OF_EACH = frozenset(("抽",))  # what is counted is always that of each: "120抽 18包"
EACH_BEFORE = frozenset(("je", "jeweils", "à"))
TOTALS = frozenset(
    "total totaling totalling totals gesamt insgesamt totale totales totaal łącznie итого 共 合計 总".split()
)

# What links a holder or a pack to what it holds: "6 boxes of 20 bags", "3 Packungen à 500 g".
LINKS = frozenset("of à a de da di mit with containing con com van x × *".split())
# Behind the size of one in the plural, they say that the number before the size counts them: "6-14 oz boxes".
HOLDERS_AFTER_SIZE = frozenset(
    "bags bars blocks bottles boxes bricks cans canisters cartons containers cups jars jugs loaves packages "
    "packets packs pieces pouches rolls sleeves sticks tins tubes tubs flaschen dosen beutel gläser "
    "bouteilles boîtes botellas latas bottiglie lattine flessen blikken butelki puszki".split()
)
WRAPPED = frozenset(  # pieces that each are a pack of their own
    "bar bars stick sticks roll rolls carton cartons sachet sachets cup cups set sets pack packs case cases bun buns "
    "riegel rollen rouleaux rollos rotoli item items stem stems candles".split()
)
INNER = frozenset(  # pieces that a pack holds, and that are no packs themselves: "pack of 60 tablets"
    "tabs caps vcaps vegcaps tabl kaps kps tabletter kapslar kapsler "
    "tablet tablets capsule capsules caplet caplets softgel softgels pill pills lozenge lozenges gummies teabag "
    "teabags wipe wipes diaper diapers nappies sheet sheets tissues napkins pads card cards envelope envelopes egg "
    "eggs straws labels stickers cookies pods gloves masks screws nails bolts plates count ct counts cts cnt "
    "tabletten kapseln teebeutel teebeuteln blatt tücher windeln eier comprimés gélules feuilles lingettes "
    "couches cápsulas comprimidos tabletas pastillas hojas toallitas pañales huevos bustine fogli compresse "
    "pannolini uova tabletek kapsułek arkuszy pieluch jaj vellen doekjes luiers таблеток капсул листов салфеток "
    "яиц 片 粒 张 張 枚 抽 錠 枚入り 매 정 캡슐 장".split()
) | {"tea bag", "tea bags", "k cup", "k cups"}
ADJECTIVES = frozenset(  # between a number and what it counts: "9 plastic bottles", "120 vegan capsules"
    "plastic glass large small mini individual resealable metal tall single snack regular jumbo mega huge "
    "double triple family standard full big aluminum aluminium frozen fresh assorted reusable refill "
    "vegan vegetarian vegetable veggie veg chewable coated vegane veganer vegetarische véganes végétales vegani "
    "vegetali veganas vegetales".split()
)
ENDING = frozenset(("st", "par"))  # units where nothing goes on behind them: "12 st", never "3 ST Special"
SHAPED = frozenset("card cards envelope envelopes label labels stickers napkins pads sheets".split())  # 3 x 5 cards

# "10g protein" is what is in it, not how much of it there is; "500 g protein powder" is.
NUTRIENTS = frozenset(
    "carb carbs carbohydrate carbohydrates caffeine cbd thc fat fats sodium sugar sugars fiber fibre fibers protein "
    "calcium potassium iron magnesium zinc creatine collagen bcaa eaa omega cholesterol salt electrolytes "
    "eiweiss protéines proteína proteínas proteine zucker sucre azúcar".split()
)
NUTRIENT_PRODUCTS = frozenset("powder bar bars shake shakes drink drinks cookie cookies chips pulver riegel".split())
BESIDE_NUTRIENTS = frozenset("of net total added dietary plant vegan whey per complete low pure high".split())
NUTRIENT_LIMIT = 60.0  # gram; more of it than this is the product itself: "500 g sugar"
PORTIONS = frozenset(
    "serving servings portion tablet tablets capsule capsules caplet softgel gummy scoop serve dose day tag kapsel "
    "tablette comprimé cápsula".split()
)

# An amount that says for whom, into what or up to what: a fit is no content.
FOR = frozenset("for fits fit holds hold supports support für pour para over under bis jusqu fino hasta".split())
BODIES = frozenset(
    "cats dogs puppies kittens babies baby kids adults toddlers infants children pets horses hunde katzen chiens chats "
    "perros gatos cani gatti".split()
)
DIAPERS = frozenset(
    "diaper diapers nappies nappy pampers huggies luvs windeln couches pañales pannolini fraldas luiers pieluchy "
    "подгузники 纸尿裤 underwear pullups swimmers".split()
)
VESSELS = frozenset(  # products that are sold by what goes into them
    "tumbler tumblers mug mugs backpack backpacks planter aquarium kettle kettles blender blenders growler canteen "
    "pitcher pitchers carafe fryer cooker stockpot liner liners flask thermos drybag suitcase trashbag "
    "müllbeutel müllsäcke mülleimer wasserkocher rucksack bouilloire mochila hervidor".split()
)
VESSEL_PAIRS = frozenset(  # two words that only together are such products
    (first, second)
    for firsts, seconds in (
        ("trash garbage rubbish refuse bin waste kitchen", "bag bags can cans bin liner liners"),
        ("paper foam party disposable hot", "cup cups bowl bowls plate plates"),
        ("storage freezer sandwich ziploc zipper", "bag bags container containers"),
        ("water drinking", "bottle"),
        ("meal deli portion souffle", "containers container cups"),
        ("measuring", "cup cups"),
        ("spray pump dropper empty", "bottles bottle"),
        ("sac sacs bolsas bolsa", "poubelle basura"),
    )
    for first in firsts.split()
    for second in seconds.split()
)
PHRASE_ENDS = frozenset(("\n", ",", "(", ")", "-", "–", "|", ";", ".", "/", ":", "with", "for", "and", "by"))
PAPER = frozenset("bond paper cardstock test line weight capacity rated".split())  # "20 lb bond", "30 lb test line"
# Numbers that name a thing: "iPhone 12 case" is one case.
NAMED_BY_NUMBER = frozenset(
    "iphone ipad galaxy pixel windows size no nr number model type series gen generation version v mark mk spf level "
    "age ages step stage vol volume part chapter playstation ps xbox class grade route area highway formula channel "
    "season episode type-c usb bluetooth wifi ios android lr cr h shade color colour".split()
)
