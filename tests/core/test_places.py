"""What tells a place: names and values."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_delta.core import place_values
from edge_delta.core.place_values import numbers_like_coordinates, told_by_values
from edge_delta.core.places import tells_by_name

NAMES = """
latitude Longitude lat LON lng long gps gps_lat gpsLat deviceLat device_lat lat1 lon2 latE7 lonE7 latdeg lon_deg mylat
devicelatitude GPS_FIX x y X1 pos position posX position_y coords coordinates geo geo_point geom geometry geohash
geohash_7 geohash12 GeoHash h3 h3_index s2_cell quadkey mgrs utm utm_x easting northing plus_code plusCode
openLocationCode what3words maidenhead address street city town postcode postal_code zip_code zipCode location site
site_name venue region country wkt wkb nmea nmea_sentence bssid wifi_ssid cell_id lac ip_address altitude track waypoint
längengrad широта долгота 緯度 経度 위도 enlem boylam
""".split()  # noqa: SIM905 - so many names read better as a text
NO_PLACES = """
latency latest flag temperature humidity status_code sensor_id timestamp vibration voltage anomaly_flag model
manufacturer firmware_version synced original_timezone reading_id accel_x accel_y note co2 pressure anomaly_type
id value relative batch
""".split()  # noqa: SIM905
VALUES = {
    "metres": "2600000/1200000",
    "metres with comma": "2600000.5, 1200000.5",
    "pair": "52.5186263,13.3761987",
    "pair with blank": "52.51862 13.37619",
    "semicolon": "-33.8567; 151.2152",
    "decimal comma": "52,518626;13,376198",
    "sides": "52.51862 N, 13.37619 E",
    "one side": "N52.51862",
    "degrees": "52°31'07.1\"N",
    "minutes": "N52 31.118 E013 22.572",
    "iso 6709": "+52.5186+013.3762/",
    "wkt": "POINT (13.376 52.518)",
    "ewkt": "SRID=4326;POINT(13.376 52.518)",
    "track": "linestring(13.1 52.1, 13.2 52.2)",
    "wkb as hexadecimal": "0101000000713D0AD7A3702A40A4703D0AD7435A40",
    "wkb": struct.pack("<BI2d", 1, 1, 13.37, 52.51),
    "two doubles": struct.pack("<2d", 52.5186, 13.3762),
    "geojson": '{"type": "Point", "coordinates": [13.376, 52.518]}',
    "json": '{"t": 21.5, "gps": {"a": 1}}',
    "json with lat": '{"lat": 52.5, "lon": 13.4}',
    "json in bytes": b'{"deviceLat": 52.5}',
    "broken json": '{"lat": 52.5, ',
    "json array": "[13.3761, 52.5186]",
    "json with text": '{"v": "52.5186263,13.3761987"}',
    "nmea": "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47",
    "geo uri": "geo:52.51,13.37",
    "plus code": "9F4MG9CG+F4",
    "short plus code": "G9CG+F4 Berlin",
    "mgrs": "33UUU8977418983",
    "utm": "33U 389774 5818983",
    "maidenhead": "JO62qm",
    "h3": "8a1f1d48c667fff",
    "geohash": "u33db2m3",
    "quadkey": "120210233222",
    "three words": "///filled.count.soap",
    "map": "https://maps.app.example/?q=here",
    "address": "10 Downing Street, London",
    "german address": "Platz der Republik 1, Scheidemannstraße 2",
    "access point": "00:1b:63:84:45:e6",
}


STRANGE_NAMES = """
breitengrad Laengengrad geoBreite hoehengrad standortName aufstellort einsatzort ortschaft strassenname hausnummer
postleitzahl gemeinde landkreis adresse latitudActual longitudActual ubicacion ubicación direccion ciudad codigoPostal
emplacement adresseSite codePostal ville localisation coordonnees altitud currentLat startLon endLng homeLatitude
vehiclePosition lastKnownLocation geoJsonData gridReference cellTowerId wifiBssid remoteIp clientAddr placeId geofenceId
latLong rechtswert northing_m utmZone posGps gpsdata locX mapUrl w3wAddress olcCode dms_lat indirizzo posizione citta
""".split()  # noqa: SIM905
STRANGE_VALUES = {
    "metres": "2600000/1200000",
    "metres with comma": "2600000.5, 1200000.5",
    "dms text": "52 31 07.1 N 13 22 34.3 E",
    "dms d": "52d31m07.1s",
    "dms letters": "N 52° 31.118' E 13° 22.572'",
    "ewkb": "0101000020E6100000713D0AD7A3702A40A4703D0AD7435A40",
    "ewkb big": "0020000001000010E6402A70A3D70A3D71405A43D70A3D70A4",
    "ewkb bytes": struct.pack("<BII2d", 1, 0x20000001, 4326, 13.37, 52.51),
    "nested json": '{"a":{"b":[{"position":{"v":1}}]}}',
    "json pair obj": '{"p":{"x":13.37612,"y":52.51812}}',
    "array text": "[52.5186263, 13.3761987]",
    "array strings": '["52.5186263","13.3761987"]',
    "utm": "33 U 389774 5818983",
    "utm zone": "32N 461344 5481745",
    "w3w": "filled.count.soap",
    "w3w url": "https://w3w.co/filled.count.soap",
    "nmea rmc": "$GNRMC,001031.00,A,4404.13993,N,12118.86023,W,0.146,,100117,,,A*7B",
    "nmea bytes": b"$GPGLL,4916.45,N,12311.12,W,225444,A",
    "plus": "8FVC9G8F+6X",
    "bssid dash": "00-1B-63-84-45-E6",
    "bssid cisco": "001b.6384.45e6",
    "cell": "262-01-4711-123456",
    "ipv4": "91.198.174.192",
    "ipv6": "2001:db8:85a3::8a2e:370:7334",
    "gmaps": "https://www.google.com/maps/@52.5186263,13.3761987,15z",
    "kml": "<coordinates>13.37,52.51</coordinates>",
    "gpx": '<trkpt lat="52.5186" lon="13.3762">',
    "german": "Breite 52,5186 Länge 13,3762",
    "labelled": "lat=52.5186&lon=13.3762",
    "lat: lon:": "lat: 52.51, lon: 13.37",
    "postcode uk": "SW1A 2AA",
    "plz": "10557 Berlin",
    "french": "12 rue de Rivoli, Paris",
    "spanish": "Calle Mayor 5",
    "svg": "52.5186263° N 13.3761987° E",
    "aprs": "5231.12N/01322.57E",
    "geohash36": "u33db2m3x",
    "wkt z": "POINT Z (1 2 3)",
    "multi": "MULTIPOINT((1 2))",
    "geomcollection": "GEOMETRYCOLLECTION(POINT(1 2))",
    "msgpack-ish": b"\x82\xa3lat\xcb@J@\x00\x00\x00\x00\x00\xa3lon\xcb@*\x00\x00\x00\x00\x00\x00",
}


def test_names_of_a_strangers_list_are_known():
    assert len(STRANGE_NAMES) >= 40
    assert [name for name in STRANGE_NAMES if not tells_by_name(name)] == []


def test_forms_of_a_strangers_list_are_known():
    assert len(STRANGE_VALUES) >= 30
    assert [form for form, value in STRANGE_VALUES.items() if told_by_values([None, value]) is None] == []


@pytest.mark.parametrize("form", place_values._TEXTS, ids=lambda form: form.name)
@given(data=st.data())
@settings(max_examples=15, derandomize=True, deadline=None, database=None)
def test_no_text_of_a_form_lacks_what_the_form_is_said_to_need(form, data):
    pattern = re.compile(form.pattern, form.flags)
    text = data.draw(st.from_regex(pattern, alphabet=st.characters(codec="ascii")))
    assert form.among([text], place_values._made_of([text]))


@pytest.mark.parametrize("cell", ["1.2.3.4-beta", "2.0.0", "10:20:30", "21.5 C", "firmware 1.10.2", "A1B2C3", "192"])
def test_versions_times_and_measurements_are_no_places(cell):
    assert told_by_values([cell]) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_tells_a_place_is_known(name):
    assert tells_by_name(name)
    assert tells_by_name(name.upper() if name.islower() else name)


@pytest.mark.parametrize("name", NO_PLACES)
def test_a_name_that_tells_none_is_left_alone(name):
    assert not tells_by_name(name)


def test_seventy_names_and_thirty_forms_are_tried():
    assert len(set(NAMES)) >= 70
    assert len(VALUES) >= 30


@pytest.mark.parametrize("form", VALUES)
def test_a_value_that_tells_a_place_is_known_by_its_form(form):
    assert told_by_values([None, VALUES[form]]) is not None


@pytest.mark.parametrize(
    "cells",
    [
        ["sensor-1", "sensor-2"],
        ["s1", "s12", "sn0012"],
        ["2026-01-01T00:00:00.123456+00:00"],
        ["TempSensor Pro", "2.0.0-beta", "1.2.1"],
        ["hall", "roof", None],
        ["an EMERGENCY, now", "all is well"],
        [21.5, 22.0],
        ['{"t": 21.5, "unit": "C"}'],
        [b"\x00\x01\x02"],
        ["3f2b8c1e-9a4d-4e57-8b55-0d9b6b0f2f11"],
    ],
    ids=str,
)
def test_ordinary_values_are_left_alone(cells):
    assert told_by_values(cells) is None


def test_pairs_of_numbers_are_known_by_their_digits():
    columns = {"a": [52.51862, 52.51863], "b": [13.37619, 13.37618], "t": [21.5, 22.25], "rate": [0.125, 0.5]}
    assert numbers_like_coordinates(columns) == ["a", "b"]
    assert numbers_like_coordinates({"a": [525186263, 525186270], "b": [133761987, 133761990]}) == ["a", "b"]
    assert numbers_like_coordinates({"a": ["52.5186", "52.5187"], "b": ["13,3761", "13,3762"]}) == ["a", "b"]
    assert numbers_like_coordinates({"e": [392001.12, 392002.5], "n": [5820000.55, 5820001.5]}) == ["e", "n"]
    assert numbers_like_coordinates({"t": [1767225600.5, 1767225601.5], "u": [1767225600.5, 1767225601.5]}) == []
    # Measurements with all of a double's digits, counters and times are none.
    assert numbers_like_coordinates({"a": [21.123456789012, 25.9], "b": [55.123456789012, 40.1]}) == []
    assert (
        numbers_like_coordinates({"a": [1_700_000_000 + i for i in range(9)], "b": [100_000 + i for i in range(9)]})
        == []
    )


def test_half_a_pair_is_known_where_the_other_half_may_be_kept_back():
    half = {"a": [52.51862, 52.51863], "t": [21.5, 22.25], "v": [3.1416, 4.6692]}
    assert numbers_like_coordinates({n: half[n] for n in ("a", "t")}) == []
    assert numbers_like_coordinates({n: half[n] for n in ("a", "t")}, halves=True) == ["a"]
    assert numbers_like_coordinates({n: half[n] for n in ("v", "t")}, halves=True) == []
