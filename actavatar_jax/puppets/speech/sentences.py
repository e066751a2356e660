"""Sentences to speak, about three seconds long, written for lips that move: templates filled from word lists."""

import re

import numpy as np

from actavatar_jax.errors import InputError

# A slot {name} stands for one entry of the list of that name, which may hold slots again.
Grammar = dict[str, tuple[str, ...]]


def make_sentence(rng: np.random.Generator, language: str) -> str:
    """One of more than a million sentences of the language: "en" or "de"; an InputError for another."""
    if language not in GRAMMARS:
        raise InputError(f"There are no sentences in {language!r}; the languages are {', '.join(LANGUAGES)}.")
    grammar, sentence = GRAMMARS[language], "{sentence}"
    while "{" in sentence:
        sentence = _SLOT.sub(lambda slot: _one_of(rng, grammar[slot[1]]), sentence)
    return sentence[0].upper() + sentence[1:]


def _one_of(rng: np.random.Generator, entries: tuple[str, ...]) -> str:
    return entries[rng.integers(len(entries))]


_SLOT = re.compile(r"\{(\w+)\}")

ENGLISH: Grammar = {
    "sentence": (
        "{who} {did} a {kind} {thing} {place} {time}.",
        "{time}, {who} {did} the {kind} {thing} {place}.",
        "I believe that {who} {did} a {kind} {thing} {place}.",
        "could you {do} the {kind} {thing} {place} {time}?",
        "please {do} my {kind} {thing} before {who} comes back home.",
        "perhaps we might {do} a {kind} {thing} and a {kind} {thing}.",
        "why would {who} want to {do} our {kind} {thing} {place}?",
        "{who} and my father always {do} a {kind} {thing} {place}.",
        "nobody has ever {did} such a {kind} {thing} {place}.",
        "{time} we {did} {number} {kind} apples and a {kind} {thing}.",
    ),
    "who": (
        *("my mother", "Bob", "our uncle Adam", "the farmer", "Emma", "a famous baker", "my best friend", "Grandma"),
        *("the postman", "Barbara", "a happy boy", "Martha", "the piano player", "our captain", "Paul", "the mayor"),
    ),
    "did": (
        *("bought", "found", "moved", "painted", "polished", "brought", "mapped", "imagined", "opened", "mopped"),
        *("borrowed", "washed", "fixed", "cleaned", "packed", "photographed", "repaired", "described"),
    ),
    "do": (
        *("buy", "find", "move", "paint", "polish", "bring", "map", "imagine", "open", "mop", "borrow", "wash", "fix"),
        *("clean", "pack", "photograph", "repair", "describe"),
    ),
    "kind": (
        *("big", "marvellous", "purple", "broken", "small", "beautiful", "bad", "modern", "heavy", "wooden", "calm"),
        *("pretty", "cheap", "foreign", "magic", "famous", "golden", "rather large", "round", "brown", "warm", "cosy"),
    ),
    "thing": (
        *("map", "piano", "boat", "lamp", "garden", "apple pie", "box of bananas", "camera", "palace", "farm", "pump"),
        *("rainbow flag", "market", "bathroom", "pepper mill", "banana cake", "bus", "mirror", "harbour", "robot"),
        *("football", "basket", "castle", "puppet", "potato soup", "bamboo chair", "umbrella", "problem"),
    ),
    "place": (
        *("at the market", "by the lamp", "in Obama Park", "behind the barn", "near the harbour", "on the farm"),
        *("above the shop", "beside the palm tree", "in the big apartment", "far from home", "at the palace"),
        *("in front of the bank", "before breakfast", "after the party", "in the garden", "under the bamboo roof"),
    ),
    "time": (
        *("on Monday", "this morning", "last summer", "in the afternoon", "right now", "all by myself", "in March"),
        *("on my birthday", "before supper", "at half past four", "tomorrow", "after the match", "with Papa", "again"),
    ),
    "number": ("five", "about five", "nine", "both", "a thousand", "most of the", "far too many", "some", "no more"),
}
GERMAN: Grammar = {
    "sentence": (
        "{who} {does} {time} {thing} {place}.",
        "{time} {does} {who} {thing} {place}.",
        "ich glaube, dass {who} {time} {thing} {does}.",
        "können wir {time} {thing} {place} {do}?",
        "{who} möchte {time} {thing} {place} {do}.",
        "warum {does} {who} {time} {thing}?",
        "vielleicht {does} {who} {thing} und auch {thing}.",
        "niemand außer Papa darf {place} {thing} {do}.",
        "{place} {does} {who} {thing} und {thing}.",
    ),
    "who": (
        *("meine Mutter", "Barbara", "unser Opa", "der Bauer", "Emma", "ein bekannter Maler", "mein bester Freund"),
        *("die Oma", "der Bäcker", "Martha", "ein froher Bube", "unsere Mama", "Paul", "die neue Pianistin", "Fabian"),
    ),
    "does": (
        *("bemalt", "kauft", "putzt", "beschreibt", "bringt", "sucht", "malt", "findet", "bewacht", "fotografiert"),
        *("besorgt", "wäscht", "repariert", "bewundert", "braucht", "plant"),
    ),
    "do": (
        *("bemalen", "kaufen", "putzen", "beschreiben", "bringen", "suchen", "malen", "finden", "bewachen"),
        *("fotografieren", "besorgen", "waschen", "reparieren", "bewundern", "planen"),
    ),
    "thing": ("einen {kind}en {he}", "eine {kind}e {she}", "ein {kind}es {it}"),
    "kind": (
        *("groß", "braun", "warm", "bunt", "praktisch", "klein", "alt", "modern", "wunderbar", "arm", "billig", "halb"),
        *("schwarz", "blau", "prachtvoll", "bekannt", "kaputt", "lang", "rund"),
    ),
    "he": (
        *("Apfel", "Ball", "Bahnhof", "Garten", "Palast", "Baum", "Hammer", "Papagei", "Computer", "Wagen", "Bart"),
        *("Kamm", "Topf", "Pullover"),
    ),
    "she": (
        *("Lampe", "Banane", "Bank", "Kamera", "Blume", "Suppe", "Mappe", "Trompete", "Farbe", "Palme", "Brücke"),
        *("Burg", "Puppe", "Tomate"),
    ),
    "it": (
        *("Boot", "Haus", "Klavier", "Bad", "Pferd", "Buch", "Bild", "Fahrrad", "Dorf", "Lamm", "Papier", "Brot"),
        *("Zimmer", "Album"),
    ),
    "place": (
        *("am Bahnhof", "im Garten", "auf dem Markt", "neben der Lampe", "bei der Oma", "vor dem Palast"),
        *("im Wald", "hinter dem Haus", "am Hafen", "auf der Burg", "unter dem Baum", "in Bamberg", "am Abend"),
    ),
    "time": (
        *("am Montag", "im Sommer", "heute Abend", "jeden Morgen", "im August", "bald", "am Nachmittag", "übermorgen"),
        *("immer", "um halb acht", "nach der Pause", "im April", "fast niemals"),
    ),
}
GRAMMARS = {"en": ENGLISH, "de": GERMAN}
LANGUAGES = tuple(GRAMMARS)
