<?php
// A request: build arrays, and a DOM of a large XML document.
mt_srand((int) ($_GET['n'] ?? 1));
$rows = [];
for ($i = 0; $i < 60000; $i++)
    $rows[] = ['id' => $i, 'name' => md5((string) mt_rand()), 'list' => [mt_rand(), mt_rand()]];
$xml = '<list>';
foreach (array_slice($rows, 0, 30000) as $row)
    $xml .= "<row id='{$row['id']}'><name>{$row['name']}</name><n>{$row['list'][0]}</n></row>";
$document = new DOMDocument();
$document->loadXML($xml . '</list>');
echo $document->getElementsByTagName('row')->length, ' ', count($rows), "\n";
