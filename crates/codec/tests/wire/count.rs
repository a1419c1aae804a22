//! How many wires the tests of this folder judge, which the README says.

use super::{
    acknowledgements, connect, fixed_header, hex::judged, pitfalls, properties, publish,
    reason_codes, subscribe, text, vectors_v3, vectors_v5,
};

/// The tests that judge wires, each by what the standards say of it.
const TESTS: [fn(); 65] = [
    acknowledgements::acks_may_leave_out_what_says_nothing,
    acknowledgements::acks_need_an_identifier,
    acknowledgements::disconnect_may_leave_out_what_says_nothing,
    acknowledgements::disconnect_has_properties_of_one_side,
    acknowledgements::auth_needs_a_method_but_in_its_shortest_form,
    connect::protocol_name_and_level_choose_the_version,
    connect::unsupported_level_is_told_before_anything_else,
    connect::unknown_protocol_name_is_refused,
    connect::all_connect_flags_are_judged,
    connect::connect_needs_every_field_that_its_flags_announce,
    connect::v31_connect_may_end_before_user_name_and_password,
    connect::empty_client_id_is_for_the_session_to_judge,
    connect::will_topic_is_a_topic_name,
    connect::password_is_binary_and_needs_no_user_name_in_v5,
    connect::authentication_data_needs_a_method,
    connect::connack_flags_are_judged,
    connect::v31_connack_flags_are_not_looked_at,
    connect::return_codes_of_v3_are_zero_to_five,
    connect::connack_has_all_its_properties,
    fixed_header::v31_duplicates_of_other_packets_are_accepted,
    fixed_header::fixed_sizes_are_exact,
    fixed_header::bytes_left_over_are_malformed,
    pitfalls::illegal_packets_that_others_take_are_refused,
    pitfalls::legal_packets_that_others_refuse_are_taken,
    pitfalls::packets_before_connect_are_for_the_session_to_refuse,
    properties::each_property_is_accepted_where_it_belongs_and_refused_elsewhere,
    properties::undefined_identifiers_are_malformed,
    properties::only_user_properties_and_published_identifiers_repeat,
    properties::values_out_of_range_are_protocol_errors,
    properties::values_that_run_past_the_block_are_malformed,
    properties::property_length_is_always_there,
    properties::property_length_is_a_minimal_integer,
    properties::without_leaves_out_and_keeps_the_rest_as_it_was,
    publish::packet_id_is_there_above_qos_0_only,
    publish::packet_id_zero_is_refused,
    publish::empty_payload_is_legal_at_every_qos,
    publish::topic_is_the_first_field_and_not_empty,
    publish::topic_alias_is_not_zero,
    publish::subscription_identifiers_come_from_servers_only,
    publish::fields_that_run_over_the_end_are_malformed,
    reason_codes::each_packet_has_its_codes,
    subscribe::all_subscription_options_are_judged,
    subscribe::options_are_read,
    subscribe::no_local_is_not_for_shared_subscriptions,
    subscribe::lists_are_not_empty,
    subscribe::unsubscribe_has_no_options,
    subscribe::subscription_identifier_stands_once_and_is_not_zero,
    subscribe::codes_stand_in_the_order_of_the_filters,
    subscribe::unsuback_of_v3_has_no_codes,
    text::ill_formed_utf8_is_refused_in_every_field,
    text::nul_is_refused_in_every_field,
    text::byte_order_mark_is_kept,
    text::legal_text_of_all_lengths_is_accepted,
    text::discouraged_code_points_are_a_policy_for_topics,
    text::topic_names_hold_no_wildcards,
    text::filters_place_wildcards_by_levels,
    text::shared_filters_have_a_name_and_a_filter,
    vectors_v3::good_packets_are_encoded_as_they_came,
    vectors_v3::v31_connect_may_lack_flagged_fields,
    vectors_v3::string_of_four_byte_characters_is_kept,
    vectors_v3::bad_packets_are_refused,
    vectors_v5::good_packets_are_encoded_as_they_came,
    vectors_v5::disconnect_with_an_empty_property_block_loses_it,
    vectors_v5::string_of_four_byte_characters_is_kept,
    vectors_v5::bad_packets_are_refused,
];

const README: &str = include_str!("../../README.md");

#[test]
fn wires_are_as_many_as_the_readme_says() {
    for test in TESTS {
        test();
    }
    let rows = judged().join("\n");
    assert!(README.contains(&rows), "the README does not say:\n{rows}");
}
